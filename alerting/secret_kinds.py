"""The kinds of secrets that are known: a name, a pattern (RE2) and a check; where a pattern has a group, the group is the secret."""

from collections.abc import Callable
from dataclasses import dataclass

from alerting import secret_checks as check


@dataclass(frozen=True, slots=True)
class SecretKind:
    """One kind of secret. `check` tells a real one from a text of its shape; None where the shape is proof enough."""

    name: str
    title: str
    pattern: str
    check: Callable[[str], bool] | None = None


KINDS: tuple[SecretKind, ...] = (
    # --- clouds ---------------------------------------------------------------------------------------------------------
    SecretKind("aws_access_key", "AWS access key id", r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b", check.is_no_placeholder),
    SecretKind(
        "aws_secret_key",
        "AWS secret access key",
        r"""(?i:aws_?(?:secret)?_?(?:access)?_?key|secret_?access_?key)["']?\s{0,4}[:=]\s{0,4}["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)""",
        check.is_random,
    ),
    SecretKind("azure_storage_key", "Azure storage account key", r"\bAccountKey=([A-Za-z0-9+/]{86}==)", check.is_no_placeholder),
    SecretKind("digitalocean_token", "DigitalOcean token", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    SecretKind("google_api_key", "Google API key", r"\b(AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9_-]|$)", check.is_no_placeholder),
    SecretKind("google_oauth_secret", "Google OAuth client secret", r"\b(GOCSPX-[A-Za-z0-9_-]{28})(?:[^A-Za-z0-9_-]|$)"),
    # --- AI providers ---------------------------------------------------------------------------------------------------
    SecretKind("anthropic_key", "Anthropic API key", r"\bsk-ant-(?:api|admin|oat|sid)\d{2}-[A-Za-z0-9_-]{80,120}", check.is_no_placeholder),
    SecretKind("groq_key", "Groq API key", r"\bgsk_[A-Za-z0-9]{52}\b", check.is_no_placeholder),
    SecretKind("huggingface_token", "Hugging Face token", r"\b(hf_[A-Za-z0-9]{34})\b", check.is_no_placeholder),
    SecretKind(
        "openai_key",
        "OpenAI API key",
        r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,90}T3BlbkFJ[A-Za-z0-9_-]{20,90}",
        check.is_no_placeholder,
    ),
    SecretKind("openrouter_key", "OpenRouter API key", r"\bsk-or-v1-[a-f0-9]{64}\b"),
    SecretKind("perplexity_key", "Perplexity API key", r"\bpplx-[A-Za-z0-9]{48}\b", check.is_no_placeholder),
    SecretKind("xai_key", "xAI API key", r"\bxai-[A-Za-z0-9]{80}\b", check.is_no_placeholder),
    # --- code and packages ----------------------------------------------------------------------------------------------
    SecretKind("github_token", "GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{36})\b", check.has_crc32),
    SecretKind("github_fine_grained_token", "GitHub fine-grained token", r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b"),
    SecretKind("gitlab_token", "GitLab token", r"\bgl(?:pat|ptt|dt|rt|soat)-([A-Za-z0-9_-]{20})(?:[^A-Za-z0-9_-]|$)", check.is_drawn),
    SecretKind("npm_token", "npm token", r"\b(npm_[A-Za-z0-9]{36})\b", check.has_crc32),
    SecretKind("pypi_token", "PyPI token", r"\bpypi-AgE[A-Za-z0-9_-]{60,250}"),
    # --- services -------------------------------------------------------------------------------------------------------
    SecretKind("sendgrid_key", "SendGrid API key", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}(?:[^A-Za-z0-9_-]|$)"),
    SecretKind("shopify_token", "Shopify token", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),
    SecretKind("slack_token", "Slack token", r"\bxox[abeoprs]-(?:\d-)?(?:\d{8,}-){1,3}([A-Za-z0-9]{20,80})\b", check.is_no_placeholder),
    SecretKind(
        "slack_webhook",
        "Slack webhook",
        r"\bhooks\.slack\.com/services/T[A-Z0-9]{7,12}/B[A-Z0-9]{7,12}/([A-Za-z0-9]{20,30})\b",
        check.is_drawn,
    ),
    SecretKind("stripe_key", "Stripe secret key", r"\b[rs]k_(?:live|test)_([A-Za-z0-9]{20,120})\b", check.is_drawn),
    SecretKind("stripe_webhook_secret", "Stripe webhook secret", r"\bwhsec_([A-Za-z0-9+/]{32,64})(?:[^A-Za-z0-9+/]|$)", check.is_drawn),
    SecretKind(
        "telegram_token", "Telegram bot token", r"(?:\b|bot)\d{8,10}:(AA[A-Za-z0-9_-]{33})(?:[^A-Za-z0-9_-]|$)", check.is_no_placeholder
    ),
    SecretKind("twilio_key", "Twilio API key", r"\b(SK[0-9a-f]{32})\b", check.is_drawn),
    # --- of any origin --------------------------------------------------------------------------------------------------
    SecretKind(
        "private_key",
        "private key",
        r"-----BEGIN (?:[A-Z0-9]{2,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\s|\\[nr]|[A-Za-z-]{4,20}: [^\n\\]{0,100}(?:\n|\\n))*[A-Za-z0-9+/\\]{40}",
    ),
    SecretKind("jwt", "JSON Web Token", r"\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,})", check.is_jwt),
    SecretKind(
        "database_url",
        "database URL with a password",
        r"\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?)(?:\+[a-z0-9]+)?://[^\s:/@\"'`]{0,80}:([^\s@/\"'`]{8,100})@[A-Za-z0-9\[]",
        check.is_random,
    ),
    SecretKind(
        "assigned_secret",
        "value assigned to a secret's name",
        r"""(?i:api_?-?key|secret|token|passw(?:or)?d|credential|private_?-?key)[A-Za-z0-9_-]{0,20}["'`]?\s{0,4}(?::=|=>|[:=])\s{0,4}["'`]"""
        r"""([A-Za-z0-9+/_.~=-]{20,120})["'`]""",
        check.is_random,
    ),
    SecretKind(
        "credit_card",
        "payment card number",
        r"\b(\d{13,19}|\d{4} \d{4} \d{4} \d{4}|\d{4}-\d{4}-\d{4}-\d{4}|\d{4} \d{6} \d{4,5}|\d{4}-\d{6}-\d{4,5})\b",
        check.is_card,
    ),
    SecretKind("iban", "IBAN", r"\b([A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?))\b", check.is_iban),
)

BY_NAME = {kind.name: kind for kind in KINDS}
