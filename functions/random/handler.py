"""Random numbers from every usual source. No two invocations may ever return the same, whatever they were restored from."""

import os
import random
import secrets
import tempfile
import uuid


def handler(event, context):
    with tempfile.NamedTemporaryFile() as file:
        file_name = os.path.basename(file.name)
    return {
        "integers": [random.randrange(1_000_000) for _ in range(3)],
        "float": random.random(),
        "uuid1": str(uuid.uuid1()),
        "uuid4": str(uuid.uuid4()),
        "token": secrets.token_hex(16),
        "file_name": file_name,
    }
