"""Every code of an error, declared once: what it means and what to do. docs/errors.md is written from here.

A code stays what it is for ever; its sentence may be reworded. Codes may be added.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ProblemCode(StrEnum):
    """Why a request is refused: the ``code`` of a problem detail."""

    statuses: tuple[int, ...]
    """The HTTP statuses that it comes with; a refusal has the first one unless it names another."""
    meaning: str
    remedy: str

    def __new__(
        cls, code: str, statuses: int | tuple[int, ...] = (), meaning: str = "", remedy: str = ""
    ) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.statuses = (statuses,) if isinstance(statuses, int) else statuses
        member.meaning, member.remedy = meaning, remedy
        return member

    # fmt: off
    # The photo
    ANIMATED_IMAGE = ("animated_image", 422, "the file holds more than one frame", "send one picture")
    BROKEN_IMAGE = ("broken_image", 422, "the file is damaged, cut off, or takes too long to read",
        "export it again, or take another")
    EMPTY_FILE = ("empty_file", 422, "the file has no bytes", "choose the photo again")
    IMAGE_TOO_LARGE = ("image_too_large", 422, "the picture has too many pixels, or needs too much memory",
        "scale it down")
    IMAGE_TOO_NARROW = ("image_too_narrow", 422, "the picture is much longer than wide, or wider than long",
        "crop it")
    IMAGE_TOO_SMALL = ("image_too_small", 422, "the picture has too few pixels", "send a larger one")
    UNSUPPORTED_IMAGE = ("unsupported_image", 415, "no JPEG, PNG, WebP, HEIC or AVIF, or a rare kind of one",
        "save it as an ordinary JPEG")
    BODY_TOO_LARGE = ("body_too_large", 413, "the file, or the whole body, has too many bytes",
        "send a smaller file")
    INVALID_MASK = ("invalid_mask", 422, "the keep mask is not a picture in base64", "encode the file's bytes")
    MASK_MISMATCH = ("mask_mismatch", 422, "the keep mask has another shape than the photo",
        "make it as wide and high as the photo")
    INVALID_REFERENCE = ("invalid_reference", 422, "the reference is not a picture in base64",
        "encode the file's bytes")
    # The request
    UNKNOWN_STYLE = ("unknown_style", 422, "there is no such style", "take one that `detail` lists")
    INVALID_PREFERENCES = ("invalid_preferences", 422, "a preference is unknown, of a wrong type or out of its range",
        "see `field`, and [the list](api.md)")
    MISSING_FILE = ("missing_file", 422, "neither a photo, nor the key or the URL of one, was sent",
        "send the photo as `file`")
    FILE_AND_KEY = ("file_and_key", 422, "the photo was sent in two ways: as a file, by key, by URL",
        "send one of them")
    DUPLICATE_FIELD = ("duplicate_field", 422, "a form field came twice", "send it once")
    UNKNOWN_FIELD = ("unknown_field", 422, "there is no such form field", "see the names in `detail`")
    INVALID_UPLOAD = ("invalid_upload", (422, 400), "the body of `POST /uploads` is not as described",
        "send `content_type` and `size`")
    MALFORMED_FORM = ("malformed_form", 400, "the form is not well formed", "let a library write it")
    MALFORMED_JSON = ("malformed_json", 400, "the body is no JSON object in UTF-8", "let a library write it")
    MALFORMED_REQUEST = ("malformed_request", 400, "the request is not valid HTTP/1.1",
        "let a library write it")
    INCOMPLETE_BODY = ("incomplete_body", 400, "the connection ended before the body did", "send it again")
    BAD_REQUEST = ("bad_request", 400, "the request is not well formed in some other way", "see `detail`")
    CLIENT_GONE = ("client_gone", 400, "the client closed the connection before the answer", "send it again")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 415, "the body is of another type than this endpoint takes",
        "see `detail`")
    UNSUPPORTED_ENCODING = ("unsupported_encoding", 415, "the body is compressed", "send it as it is")
    LENGTH_REQUIRED = ("length_required", 411, "`Content-Length` is missing",
        "send it with the number of bytes")
    HEADERS_TOO_LARGE = ("headers_too_large", 431, "the headers have too many bytes or lines", "send fewer")
    HEADERS_TOO_SLOW = ("headers_too_slow", 408, "the headers come too slowly", "send again over a faster connection")
    UPLOAD_TOO_SLOW = ("upload_too_slow", 408, "the body comes too slowly", "send again over a faster connection")
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405, "this address does not take this method",
        "see the header `Allow`")
    UPGRADE_REQUIRED = ("upgrade_required", 426, "this address accepts only WebSockets", "connect with `ws://`")
    NOT_FOUND = ("not_found", 404, "there is nothing at this address",
        "see [the endpoints](api.md#endpoints)")
    INVALID_BODY = ("invalid_body", 422, "a member of the body is unknown, missing, of a wrong type or out of range",
        "see `field`")
    # Jobs, pictures and uploads
    JOB_NOT_FOUND = ("job_not_found", 404, "no job of yours has this id, or it was erased", "submit again")
    JOB_NOT_COMPLETED = ("job_not_completed", 409, "it has no picture yet, or never will",
        "read its status; it says when it is completed")
    STYLE_NOT_FOUND = ("style_not_found", 404, "no style of yours has this name, or it has no picture",
        "see `GET /styles`")
    TOO_MANY_STYLES = ("too_many_styles", 409, "you have as many styles of your own as your plan allows",
        "delete one")
    UNKNOWN_PLAN = ("unknown_plan", 409, "the service has no plan of this name", "take one that `detail` lists")
    KEY_NOT_FOUND = ("key_not_found", 404, "no API key has this id, or it was revoked", "see `GET /admin/keys`")
    JOB_FINISHED = ("job_finished", 409, "it cannot be cancelled any more", "read its result, or erase it")
    JOB_NOT_FINISHED = ("job_not_finished", 409, "its files cannot be erased yet", "cancel it first")
    OBJECT_NOT_FOUND = ("object_not_found", 404, "the picture was erased, or never was", "submit again")
    LINK_EXPIRED = ("link_expired", 403, "the signed link is too old",
        "ask for the job's status: it has a new one")
    BAD_SIGNATURE = ("bad_signature", 403, "the link was changed, or made by another service",
        "use it as it was given")
    NO_SUCH_UPLOAD = ("no_such_upload", 409, "there is no photo under this key", "PUT it to the link first")
    UPLOAD_USED = ("upload_used", 409, "this key or link was used", "ask for another at `POST /uploads`")
    DEAD_LETTER_NOT_FOUND = ("dead_letter_not_found", 404, "no job with this id was given up",
        "see `GET /admin/dead-letters`")
    NOT_REPLAYED = ("not_replayed", 409, "the photo of a job that was given up is gone, or it waits again already",
        "see `detail`")
    NO_RELEASES = ("no_releases", 409, "the service does not know where its releases lie", "set `REROOM_RELEASES_AT`")
    RELEASE_NOT_FOUND = ("release_not_found", 404, "no release of this number was published, or none was on trial",
        "see `GET /admin/releases`")
    RELEASE_REFUSED = ("release_refused", 409, "the release is not verified, is withdrawn, or another is on trial",
        "see `detail`")
    ROLLOUT_CHANGED = ("rollout_changed", 409, "somebody else changed what is live at the same time; nothing was done",
        "see `GET /admin/releases`, and ask again if it is still what you want")
    INVALID_IDEMPOTENCY_KEY = ("invalid_idempotency_key", 400, "the header `Idempotency-Key` is too long or no text",
        "send a UUID")
    IDEMPOTENCY_KEY_IN_USE = ("idempotency_key_in_use", 409, "a request with this key is being done",
        "send it again after `Retry-After`")
    IDEMPOTENCY_KEY_REUSED = ("idempotency_key_reused", 422, "this key came with another request within a day",
        "take a new key for each request")
    INVALID_CANCEL_AFTER = ("invalid_cancel_after", 400, "the header `Cancel-After` is no time",
        "send one such as `90s`")
    # Webhooks, and URLs to call
    WEBHOOK_NOT_FOUND = ("webhook_not_found", 404, "no webhook of yours has this id", "see `GET /webhooks`")
    WEBHOOK_DISABLED = ("webhook_disabled", 409, "the webhook gets nothing now", "enable it with PATCH")
    TOO_MANY_WEBHOOKS = ("too_many_webhooks", 409, "your key has as many webhooks as allowed", "delete one")
    INVALID_URL = ("invalid_url", 422, "the URL is not one that the service calls: its scheme, its port or its form",
        "see `detail`")
    URL_NOT_ALLOWED = ("url_not_allowed", 422, "the URL leads into a private network",
        "name an address on the internet, or ask the operator for `REROOM_EGRESS_ALLOW_CIDRS`")
    URL_UNREACHABLE = ("url_unreachable", 422, "the URL could not be called, or did not answer with 200",
        "open it yourself, and see `detail`")
    INVALID_AFTER = ("invalid_after", 400, "`after` or `Last-Event-ID` is no `seq`",
        "send the last `seq` that you have")
    INVALID_CURSOR = ("invalid_cursor", 400, "`cursor` is not the `next` of a page", "leave it out for the first page")
    NOTHING_TO_KEEP = ("nothing_to_keep", 409, "the job has failed or was cancelled, so it has no picture to keep",
        "submit again")
    # Rights
    UNAUTHORIZED = ("unauthorized", 401, "no valid key, token or ticket was sent",
        "send `Authorization: Bearer rr_…` or `X-API-Key`; see [Authentication](api.md#authentication)")
    MISSING_SCOPE = ("missing_scope", 403, "the key lacks the scope that `detail` names", "use a key that has it")
    NOT_IN_PLAN = ("not_in_plan", 403, "the plan of your key does not include the style or quality",
        "take one that `detail` lists")
    ADMIN_DISABLED = ("admin_disabled", 403, "the service is open and has no administrator's token",
        "set `REROOM_ADMIN_TOKEN`")
    FORBIDDEN_ORIGIN = ("forbidden_origin", 403, "the page's origin, or the name that it calls the service by, is not "
        "allowed", "name it in `ALLOWED_ORIGINS`; see `field`")
    # The service
    QUEUE_FULL = ("queue_full", 503, "the queue of waiting jobs is full", "try again after `Retry-After`")
    TOO_MANY_REQUESTS = ("too_many_requests", 429, "your key or your address has asked too often",
        "try again after `Retry-After`; see [Limits](api.md#limits)")
    QUOTA_EXCEEDED = ("quota_exceeded", 429, "your key has as many jobs, as much of the models' time, or as many "
        "pictures as its plan allows", "see `detail`: it says which limit, and when it has room again")
    BUDGET_EXHAUSTED = ("budget_exhausted", 402, "the service's budget for this month is used up",
        "try again after `Retry-After`, or ask the operator")
    TOO_MANY_CONNECTIONS = ("too_many_connections", (429, 503),
        "you, or all clients together, have too many connections", "try again after `Retry-After`")
    TOO_MANY_UPLOADS = ("too_many_uploads", 429, "you have too many uploads at once",
        "try again after `Retry-After`")
    UNAVAILABLE = ("unavailable", 503, "a part of the service cannot be reached",
        "try again; the operator sees which at `/health`")
    MODEL_ERROR = ("model_error", 502, "the model failed on this photo",
        "try another photo; the worker's log has the reason")
    MODEL_TIMEOUT = ("model_timeout", 504, "the model took too long", "try again")
    INTERNAL_ERROR = ("internal_error", 500, "something broke on the service's side",
        "try again; the log has the reason")
    # fmt: on


class FailureCode(StrEnum):
    """Why a job failed: the ``code`` of its ``error``."""

    sentence: str
    """The sentence that clients get in place of the stored detail, which may contain addresses and the messages of
    libraries. Empty where the stored detail is written for the user."""
    meaning: str
    remedy: str

    def __new__(cls, code: str, sentence: str = "", meaning: str = "", remedy: str = "") -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence, member.meaning, member.remedy = sentence, meaning, remedy
        return member

    # fmt: off
    BROKEN_IMAGE = ("broken_image", "The photo cannot be decoded.", "the stored photo cannot be decoded",
        "submit it again")
    ORIGINAL_MISSING = ("original_missing", "", "the stored photo is gone", "submit it again")
    INVALID_REQUEST = ("invalid_request", "", "the model refused a value, such as a solver that the release lacks",
        "change what `detail` names")
    STRUCTURE_LOST = ("structure_lost", "", "no picture kept as much of the room as `min_quality` or one of its kinds "
        "asks for; the job is not charged", "submit again with a higher `structure` or another `seed`, or ask for less")
    NOT_UNDERSTOOD = ("not_understood", "", "no worker understands the request, because all are older than the API",
        "submit again once all workers are upgraded")
    MODEL_ERROR = ("model_error", "The model failed on this photo.", "the model failed on this photo",
        "try another photo")
    RELEASE_NOT_HERE = ("release_not_here", "The models that the job began with are not served any more.",
        "no Triton serves the release that the job began with; a job goes on with the live one instead",
        "submit it again")
    STALLED = ("stalled", "", "the model stopped answering", "submit it again")
    TOO_MANY_ATTEMPTS = ("too_many_attempts", "", "the job stopped its worker too often", "try another photo")
    TOO_MANY_OUTAGES = ("too_many_outages", "", "a part of the service failed many times while the job ran",
        "submit it again")
    UNAVAILABLE = ("unavailable", "A part of the service was out of reach for too long.",
        "a part of the service was out of reach for too long", "submit it again")
    BROKEN_RECORD = ("broken_record", "", "the job's record was damaged", "submit it again")
    INTERNAL_ERROR = ("internal_error", "Something went wrong on our side.", "the worker had an unexpected error",
        "submit it again; its log has the reason")
    # fmt: on

    @classmethod
    def of(cls, code: str) -> FailureCode:
        """The member for a stored code; INTERNAL_ERROR for one of another version of the workers."""
        try:
            return cls(code)
        except ValueError:
            return cls.INTERNAL_ERROR
