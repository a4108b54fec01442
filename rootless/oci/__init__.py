"""rpod-runtime: the OCI runtime command line that runc and crun share, over rpod's own launcher and init."""
