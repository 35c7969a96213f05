"""Bytes and the values they stand for: the envelope and the codecs."""
