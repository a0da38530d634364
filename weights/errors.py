"""What can go wrong with models and sample photographs."""


class UnknownModel(LookupError):
    """No model or photograph of that name is in the manifest."""


class ModelMissing(FileNotFoundError):
    """A model of the manifest is not on this machine; the text names the command that fetches it."""


class ModelRefused(ValueError):
    """A file is not the one which the manifest describes; nothing runs from it."""


class LicenceNotAccepted(PermissionError):
    """A model's licence forbids commercial use, and nobody has accepted that here; the text names the command for it."""


class FetchFailed(OSError):
    """No source of a file could be used; the text names each one and why it failed."""


class ImportFailed(ValueError):
    """A model file holds something that its importer does not know how to convert."""


class BackendMissing(ImportError):
    """A runtime that was asked for is not installed; the text names the command that installs it."""
