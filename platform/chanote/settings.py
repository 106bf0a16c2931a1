"""Django settings. Everything that differs between installations comes from CHANOTE_* environment variables."""

import os
import shlex
from pathlib import Path

from csp.constants import NONE, SELF

from chanote.environment import (
    find_assets,
    find_home,
    read_addresses,
    read_database,
    read_flag,
    read_list,
    read_number,
    read_secret_key,
)

HOME = find_home()
ASSETS = find_assets()
SECRET_KEY = read_secret_key(HOME)
DEBUG = read_flag("CHANOTE_DEBUG", default=False)
HTTPS = read_flag("CHANOTE_HTTPS", default=False)
"""The browser reaches the platform over TLS: cookies and redirects insist on it."""
ALLOWED_HOSTS = read_list("CHANOTE_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = read_list("CHANOTE_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "axes",
    "csp",
    "rules",
    "django_structlog",
    "django_fsm",
    "import_export",
    "simple_history",
    "chanote.accounts",
    "chanote.audit",
    "chanote.datasets",
    "chanote.models",
    "chanote.recipes",
    "chanote.runs",
    "chanote.boards",
    "chanote.boards.judging",
    "chanote.tools",
    "chanote.chat",
    "chanote.review",
    "chanote.curation",
    "chanote.rights",
    "chanote.errands",
    "chanote.checks",
    "chanote.building",
    "chanote.custody",
    "chanote.web",
    "chanote.api",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "chanote.web.staticfiles.StaticFilesMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "chanote.accounts.middleware.FirstPasswordMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "axes.middleware.AxesMiddleware",
]

SIMPLE_HISTORY_REVERT_DISABLED = True
"""The history is to be read; what is changed back is a change of its own."""
IMPORT_EXPORT_USE_TRANSACTIONS = True

ROOT_URLCONF = "chanote.urls"
ASGI_APPLICATION = "chanote.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ASSETS / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chanote.web.context.shell",
            ],
        },
    },
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

DATABASES = {"default": read_database(HOME)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["CHANOTE_REDIS_URL"]}
        if os.environ.get("CHANOTE_REDIS_URL")
        # A per-process cache would multiply every throttle by the number of processes.
        else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "django_cache"}
    )
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "rules.permissions.ObjectPermissionBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
"""Hours a name stays locked after too many wrong passwords."""
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "chanote.accounts.lockout.answer_lockout"
# Tries during the pause do not lengthen it, so that the page can say when it ends.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
# Deployments behind a proxy list the proxy; without one the socket's address is the client.
AXES_IPWARE_PROXY_COUNT = read_number("CHANOTE_PROXY_COUNT", default=0)

LANGUAGE_CODE = "en"
# Until the pages themselves are translated: half a page in another language helps nobody.
LANGUAGES = [("en", "English")]
TIME_ZONE = os.environ.get("CHANOTE_TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [ASSETS / "static"]
STATIC_ROOT = HOME / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "artifacts": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": HOME / "artifacts", "file_permissions_mode": 0o640},
    },
    "staticfiles": {"BACKEND": "chanote.web.staticfiles.CollectedFiles"},
}
# Until `collectstatic` has run, files are served from where they lie.
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "staticfiles.json").is_file()
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False
MEDIA_ROOT = HOME / "uploads"
FILE_UPLOAD_TEMP_DIR = None
# Uploads beyond this size stream to a temporary file instead of memory.
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 12 * 3600
SECURE_SSL_REDIRECT = HTTPS
# Monitors ask over plain HTTP from inside.
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
if read_flag("CHANOTE_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "chanote.api.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["chanote.api.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["chanote.api.throttles.PerMinute"],
    "DEFAULT_PAGINATION_CLASS": "chanote.api.paging.NewestFirst",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_VERSIONING_CLASS": None,
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "chanote.api.errors.answer_exception",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
API_REQUESTS_PER_MINUTE = {
    "read": read_number("CHANOTE_API_READS_PER_MINUTE", default=6000, lowest=1),
    "write": read_number("CHANOTE_API_WRITES_PER_MINUTE", default=1200, lowest=1),
    "metrics": read_number("CHANOTE_API_METRIC_BATCHES_PER_MINUTE", default=60_000, lowest=1),
    "shared": read_number("CHANOTE_SHARED_PAGES_PER_MINUTE", default=60, lowest=1),
}
"""Of one user, each; reads and writes of strangers by their address."""
SPECTACULAR_SETTINGS = {
    "TITLE": "Chanote",
    "DESCRIPTION": "Datasets, recipes, runs, models and boards over REST.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "KindEnum": "chanote.datasets.models.Kind",
        "BundleKindEnum": "chanote.custody.models.Subject",
        "PackageStateEnum": "chanote.custody.models.State",
        "LabelEnum": "chanote.review.models.LabelKind",
        "StateEnum": "chanote.runs.models.State",
        "ErrandStateEnum": "chanote.errands.models.State",
        "UseEnum": "chanote.datasets.models.Use",
        "ExceptionStateEnum": "chanote.rights.models.State",
        "LabelRowsEnum": ["chat", "preferences"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "chanote.api.schema.describe_errors",
    ],
}
KNOX_TOKEN_MODEL = "accounts.ApiToken"
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": "chanote_"}

CELERY_HOME = HOME / "broker"
CELERY_BROKER_URL = os.environ.get("CHANOTE_REDIS_URL") or "filesystem://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {}
    if os.environ.get("CHANOTE_REDIS_URL")
    else {
        "data_folder_in": str(CELERY_HOME / "messages"),
        "data_folder_out": str(CELERY_HOME / "messages"),
        "processed_folder": str(CELERY_HOME / "processed"),
        "control_folder": str(CELERY_HOME / "control"),
        # With store_processed the message is taken by an atomic rename, so two workers cannot both have it.
        "store_processed": True,
        "polling_interval": 0.1,
    }
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 60
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True

RUNS_DIRECTORY = Path(os.environ.get("CHANOTE_RUNS_DIRECTORY") or HOME / "runs").resolve()
DEVICE_SLOTS = read_number("CHANOTE_DEVICE_SLOTS", default=1, lowest=1)
"""Runs that may train at the same time on this installation."""
ERRAND_SLOTS = read_number("CHANOTE_ERRAND_SLOTS", default=2, lowest=1)
"""Errands that the platform does at the same time."""
LEASE_SECONDS = read_number("CHANOTE_LEASE_SECONDS", default=30, lowest=2)
STOP_GRACE_SECONDS = read_number("CHANOTE_STOP_GRACE_SECONDS", default=60, lowest=1)
RECONCILE_SECONDS = read_number("CHANOTE_RECONCILE_SECONDS", default=10, lowest=1)
METRICS_ALLOW = read_list("CHANOTE_METRICS_ALLOW", default=[])
"""Addresses or networks that may read /metrics without an account, such as 10.0.0.0/8."""
TRAINER_COMMAND = shlex.split(os.environ.get("CHANOTE_TRAINER_COMMAND", ""))
"""How a worker calls the trainer when not by its own Python; `run DIRECTORY` is added."""
MACHINE_WATTS = read_number("CHANOTE_MACHINE_WATTS", default=0)
"""What a training machine takes without its GPUs when all its cores work, for estimates of energy where nothing
measures it; 0: nobody has said it."""
CARBON_GRAMS_PER_KWH = read_number("CHANOTE_CARBON_GRAMS_PER_KWH", default=0)
"""CO2 equivalent of the electricity that these machines take; 0: nobody has said it."""
SANDBOX_ADDRESSES = read_addresses("CHANOTE_SANDBOX_URL")
"""Tool services that may be used, the default first. None: the one that `chanote up` or `chanote demo` starts."""
SANDBOX_TOKEN_FILE = os.environ.get("CHANOTE_SANDBOX_TOKEN_FILE", "")
"""Holds the token for these services, as `python -m toolsandbox serve --token-file` takes it."""
SANDBOX_CORPUS = os.environ.get("CHANOTE_SANDBOX_CORPUS", "")
"""Corpus with which `chanote up` starts a tool service: a file, or PROJECT/DATASET@VERSION; empty starts none."""
SANDBOX_PORT = read_number("CHANOTE_SANDBOX_PORT", default=8930)
"""Of the tool service that the platform starts; a free one where it is taken."""
SANDBOX_PATIENCE_MS = read_number("CHANOTE_SANDBOX_PATIENCE_MS", default=1500, lowest=1)
"""A page waits no longer for a tool service to say how it is."""
SANDBOX_CODE_SETTINGS = os.environ.get("CHANOTE_SANDBOX_CODE_SETTINGS", "")
"""TOML file with the limits, image and runtime of the code tools of that service."""
MINIMUM_FREE_BYTES = read_number("CHANOTE_MINIMUM_FREE_MB", default=200) * 1024 * 1024

TEST_RUNNER = "django.test.runner.DiscoverRunner"

from chanote.logs import configure_logs  # noqa: E402

LOGGING_CONFIG = None
configure_logs(debug=DEBUG, json_lines=read_flag("CHANOTE_LOG_JSON", default=True))
