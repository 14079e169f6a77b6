"""A trained artefact as a folder: what the registry stores, a container mounts and serving loads."""

from common.bundle.folder import FORMAT, Bundle, Manifest, load_bundle, newest
from common.bundle.save import save_bundle
from common.bundle.selftest import open_predictor

__all__ = ["FORMAT", "Bundle", "Manifest", "load_bundle", "newest", "open_predictor", "save_bundle"]
