"""Many runs as one object: a study file -> runs that depend on one another, what is there of them, what comes next."""
