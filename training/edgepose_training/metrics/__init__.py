"""Measures of pose accuracy: OKS and its average precision, PCK, PCKh, normalized errors, intervals."""
