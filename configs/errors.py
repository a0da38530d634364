"""What can go wrong with a configuration."""


class ConfigError(ValueError):
    """A configuration cannot be used; the text names the file, the key by its full path, and what is wrong with it."""
