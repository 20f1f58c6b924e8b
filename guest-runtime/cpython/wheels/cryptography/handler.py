"""Symmetric and public-key cryptography, and a certificate made and verified."""

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC


def handler(event, context):
    text = event["text"].encode()
    fernet = Fernet(Fernet.generate_key())
    # A test vector: test case 2 of the GCM specification.
    sealed = AESGCM(bytes(16)).encrypt(bytes(12), bytes(16), None)
    derived = PBKDF2HMAC(hashes.SHA256(), 32, b"salt", 1000).derive(b"password")
    return {
        "fernet": fernet.decrypt(fernet.encrypt(text)).decode(),
        "gcm": sealed.hex(),
        "pbkdf2": derived.hex(),
        "rsa": rsa_signs(text),
        "ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).sign(text).hex()[:32],
        "certificate": certificate(),
        "forged": forged(sealed),
    }


def rsa_signs(text):
    key = rsa.generate_private_key(65537, 2048)
    signature = key.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    arguments = (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    key.public_key().verify(signature, text, *arguments)
    try:
        key.public_key().verify(signature, text + b"!", *arguments)
    except InvalidSignature:
        return key.key_size
    raise AssertionError("a wrong signature was accepted")


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mayfly")])
    start = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(5).not_valid_before(start).not_valid_after(start + datetime.timedelta(30))
    made = builder.sign(key, hashes.SHA256())
    read = x509.load_pem_x509_certificate(made.public_bytes(serialization.Encoding.PEM))
    read.verify_directly_issued_by(made)
    return read.subject.rfc4514_string()


def forged(sealed):
    try:
        AESGCM(bytes(16)).decrypt(bytes(12), sealed[:-1] + b"x", None)
    except InvalidTag:
        return "refused"
