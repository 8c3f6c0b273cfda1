"""The asset survey: looks at every model of a source once, measures it or rejects it with a reason."""
