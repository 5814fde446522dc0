"""Secrets from the Parameter Store of AWS Systems Manager, decrypted on their way here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from spotrelay.aws.credentials import Credentials
from spotrelay.aws.json_request import JsonService, Refused, Unanswered
from spotrelay.core.errors import SecretRefused, SecretUnavailable


class SsmSecrets:
    """ports.Secrets. Options as for SqsQueue."""

    def __init__(
        self,
        *,
        region: str,
        credentials: Credentials,
        endpoint: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        suffix = ".cn" if region.startswith("cn-") else ""
        self._ssm = JsonService(
            "ssm",
            "AmazonSSM",
            f"https://ssm.{region}.amazonaws.com{suffix}/",
            version="1.1",
            region=region,
            credentials=credentials,
            endpoint=endpoint,
            wall=wall,
        )

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
