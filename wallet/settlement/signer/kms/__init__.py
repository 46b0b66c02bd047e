"""Keys that never leave a cloud's KMS, over its HTTP API.

Installed with requirements-kms.txt. A key for encryption wraps the seed's data key; a secp256k1 key
for signing is an operator.
"""

from typing import Final

from wallet.settlement.signer.kms.aws import AwsKey
from wallet.settlement.signer.kms.google import GoogleKey

CLOUDS: Final[dict[str, type[AwsKey] | type[GoogleKey]]] = {
    AwsKey.kind: AwsKey,
    GoogleKey.kind: GoogleKey,
}
