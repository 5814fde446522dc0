"""The cloud that fulfils the ports. Imported by entry points alone."""
