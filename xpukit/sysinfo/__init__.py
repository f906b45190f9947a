"""The support bundle: collectors, archive, summary, comparison of two bundles."""
