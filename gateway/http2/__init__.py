"""HTTP/2 (RFC 9113) as far as gRPC needs it, made for relaying: frames go from one connection to another unparsed."""
