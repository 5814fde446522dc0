"""Secrets from the Parameter Store of AWS Systems Manager, decrypted on their way here."""

from __future__ import annotations

import json

from spotrelay.aws.json_request import Caller, JsonService, Refused, Unanswered
from spotrelay.core.errors import SecretRefused, SecretUnavailable


class SsmSecrets:
    """ports.Secrets, of the caller's region."""

    def __init__(self, caller: Caller) -> None:
        suffix = ".cn" if caller.region.startswith("cn-") else ""
        url = f"https://ssm.{caller.region}.amazonaws.com{suffix}/"
        self._ssm = JsonService("ssm", "AmazonSSM", url, caller, version="1.1")

    async def read(self, name: str) -> str:
        try:
            said = await self._ssm.call("GetParameter", {"Name": name, "WithDecryption": True})
            return str(json.loads(said)["Parameter"]["Value"])
        except Unanswered as error:
            raise SecretUnavailable(f"the parameter {name} cannot be read: {error.what}") from error
        except Refused as error:
            step = (
                f"aws ssm put-parameter --type SecureString --name {name}; the stack lets instances read /spotrelay/*"
            )
            raise SecretRefused(f"the parameter {name} cannot be read: {error.what}", next_step=step) from error
        except (ValueError, KeyError, TypeError):
            # Never with what was said: it may hold the secret.
            raise SecretUnavailable(f"the parameter {name} cannot be read: no answer of SSM's") from None
