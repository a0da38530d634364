"""The C engine and its Cython border."""
