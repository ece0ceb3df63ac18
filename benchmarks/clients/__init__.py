"""The ways to ask a peer, each as cheap as that way allows: what a client costs is taken apart from the servers, but shares their cores."""
