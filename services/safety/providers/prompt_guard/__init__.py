"""`inline::prompt-guard`: classifiers of jailbreaks and injected instructions, in this process."""
