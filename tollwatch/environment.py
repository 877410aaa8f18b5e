"""The environment that sends a child process through the gateway (docs/clients.md says what each variable is for)."""

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from tollwatch.rawconfig import DEFAULT_BASE_URL, DEFAULT_FORWARD, RawConfig

CA_FOLDER: Final = "ca"
CA_CERTIFICATE: Final = "ca.pem"
TRUST_STORE: Final = "truststore.p12"
TRUST_STORE_PASSWORD: Final = "tollwatch"  # noqa: S105  # Java wants one; the file holds public certificates

REPLACING: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
)
"""Variables that replace a client's roots: they name every root, the system's and the user's own included."""
ADDING: Final = ("NODE_EXTRA_CA_CERTS", "DENO_CERT", "CODEX_CA_CERTIFICATE")
"""Variables that add to a client's roots."""
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

_SYSTEM_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_BASE_URLS = {
    "OPENAI_BASE_URL": "/openai/v1",
    "OPENAI_API_BASE": "/openai/v1",
    "ANTHROPIC_BASE_URL": "/anthropic",
    "GROQ_BASE_URL": "/groq",
    "GOOGLE_GEMINI_BASE_URL": "/gemini",
    "CO_API_URL": "/cohere",
}


class EnvironmentUnavailableError(Exception):
    """The variables cannot be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for beyond the usual."""

    user: str | None = None
    base_url: bool = False
    """Point the SDKs that read one at the base-URL door."""
    bedrock_node: bool = False
    """The AWS SDK for JavaScript ignores proxies: give it the base-URL door over TLS."""
    java: bool = False


def variables(raw: RawConfig, environ: Mapping[str, str], options: Options) -> dict[str, str]:
    """Return the variables to set beside `environ`, and write the certificate files that they name."""
    folder = raw.data_dir / CA_FOLDER
    certificate = folder / CA_CERTIFICATE
    try:
        ours = certificate.read_text(encoding="ascii")
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"Cannot read the CA certificate {certificate}: {error.strerror}. Run `tollwatch init` or start the gateway first"
        ) from error
    forward = reachable(raw.get("proxy", "listen", default=DEFAULT_FORWARD))
    bundle = _written(folder, "bundle", _combined([_certifi(), *_SYSTEM_ROOTS, *_theirs(environ, (*REPLACING, *ADDING), folder)], ours))
    theirs = _theirs(environ, ADDING, folder)
    extra = _written(folder, "extra", _combined(theirs, ours)) if theirs else certificate
    made: dict[str, str] = dict.fromkeys(PROXIES, f"http://{_userinfo(options)}{forward}")
    made |= dict.fromkeys(("NO_PROXY", "no_proxy"), no_proxy(environ))
    made |= dict.fromkeys(REPLACING, str(bundle))
    made |= dict.fromkeys(ADDING, str(extra))
    made["NODE_USE_ENV_PROXY"] = "1"
    return made | _base_urls(raw, environ, options) | _java(folder, bundle, forward, environ, options)


def no_proxy(environ: Mapping[str, str]) -> str:
    """Return the user's own exceptions with the loopback names appended (httpx and Node would proxy 127.0.0.1 otherwise)."""
    theirs = [part.strip() for name in ("NO_PROXY", "no_proxy") for part in environ.get(name, "").split(",") if part.strip()]
    return ",".join(dict.fromkeys([*theirs, *LOOPBACK]))


def reachable(listen: str) -> str:
    """Return the host:port that a client on this machine connects to for an address that is listened on."""
    host, _, port = listen.rpartition(":")
    names = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "::": "[::1]"}  # noqa: S104  # recognised, not bound
    return f"{names.get(host, host)}:{port}"


def shell_lines(made: Mapping[str, str], shell: str) -> Iterable[str]:
    """Yield the lines that set `made` in `shell`: bash, fish, powershell or dotenv."""
    for name, value in made.items():
        single = value.replace("'", "''" if shell == "powershell" else r"\'" if shell == "fish" else "'\\''")
        double = value.replace("\\", "\\\\").replace('"', '\\"')
        yield {
            "fish": f"set -gx {name} '{single}'",
            "powershell": f"$env:{name} = '{single}'",
            "dotenv": f'{name}="{double}"',
        }.get(shell, f"export {name}='{single}'")


def _userinfo(options: Options) -> str:
    """Return the name for the proxy's URL; urllib sends it only beside a password, which nobody reads."""
    return f"{quote(options.user, safe='')}:-@" if options.user else ""


def _base_urls(raw: RawConfig, environ: Mapping[str, str], options: Options) -> dict[str, str]:
    door = reachable(raw.get("proxy", "base_url_listen", default=DEFAULT_BASE_URL))
    made: dict[str, str] = {}
    if raw.get("proxy", "upstreams", "ollama", default=""):
        made["OLLAMA_HOST"] = f"http://{door}/ollama"
    has_key = "AWS_BEARER_TOKEN_BEDROCK" in environ  # which AWS's SDKs send over TLS only; a signed request could not pass there
    if options.bedrock_node or (options.base_url and has_key):
        made["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] = f"https://localhost:{door.rpartition(':')[2]}{_bedrock(environ)}"
    if options.base_url:
        made |= {name: f"http://{door}{path}" for name, path in _BASE_URLS.items()}
        resource = (urlsplit(environ.get("AZURE_OPENAI_ENDPOINT", "")).hostname or "").removesuffix(".openai.azure.com")
        if resource and "." not in resource:
            made["AZURE_OPENAI_ENDPOINT"] = f"http://{door}/azure/{resource}"
    return made


def _bedrock(environ: Mapping[str, str]) -> str:
    """Return where Bedrock stands on the base-URL door: nothing in a request with an API key tells the region."""
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    return f"/bedrock/{region}" if region else "/bedrock"


def _java(folder: Path, bundle: Path, forward: str, environ: Mapping[str, str], options: Options) -> dict[str, str]:
    if not options.java:
        return {}
    from cryptography import x509  # noqa: PLC0415  # takes 100 ms that only Java needs
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption  # noqa: PLC0415  # the same
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore  # noqa: PLC0415  # the same
    from cryptography.utils import CryptographyDeprecationWarning  # noqa: PLC0415  # the same

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # old roots with odd serial numbers, which Java accepts
        roots = [PKCS12Certificate(root, None) for root in x509.load_pem_x509_certificates(bundle.read_bytes())]
    store = folder / TRUST_STORE
    _replace(store, serialize_java_truststore(roots, BestAvailableEncryption(TRUST_STORE_PASSWORD.encode())))
    host, _, port = forward.rpartition(":")
    flags = [
        environ.get("JAVA_TOOL_OPTIONS", ""),
        *(f"-D{scheme}.proxyHost={host} -D{scheme}.proxyPort={port}" for scheme in ("https", "http")),
        "-Dhttp.nonProxyHosts=localhost|127.*|[::1]",
        f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword={TRUST_STORE_PASSWORD}",
    ]
    return {"JAVA_TOOL_OPTIONS": " ".join(filter(None, flags))}


def _certifi() -> str:
    import certifi  # noqa: PLC0415  # only where the bundle is made

    return certifi.where()


def _theirs(environ: Mapping[str, str], names: Iterable[str], folder: Path) -> list[str]:
    files = dict.fromkeys(environ[name] for name in names if environ.get(name))
    return [file for file in files if Path(file).is_file() and Path(file).parent != folder]


def _combined(files: Iterable[str], ours: str) -> str:
    found: dict[str, None] = {}
    for file in files:
        try:
            text = Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # a root file that this user cannot read serves no client of this user either
        found.update(dict.fromkeys(_CERTIFICATE.findall(text)))
    found.update(dict.fromkeys(_CERTIFICATE.findall(ours)))
    return "\n".join(found) + "\n"


def _written(folder: Path, stem: str, text: str) -> Path:
    """Write under a name that depends on the content, so that two shells with different roots do not overwrite each other's."""
    path = folder / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.pem"
    if not path.is_file():
        _replace(path, text.encode())
    return path


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentUnavailableError(f"Cannot write {path}: {error.strerror}. Make {path.parent} writable for this user") from error
