"""The Information System Authority: the state portal with sign-in, signing and the validation page."""
