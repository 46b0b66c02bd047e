class SignerUnavailable(Exception):
    """The keeper of the key did not answer. Nothing was signed; asking again later is safe."""


class SigningRefused(Exception):
    """The keeper of the key will not sign this, or may not; asking again changes nothing."""
