"""The shape of a connector's file: which keys there are, and of what kind each value is.

What names an expression may use, and whether the parts fit together, is looked at by ``compiling``. This
module may not know what a value means.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

NAME = r"^[a-z][a-z0-9_]*$"
METHODS = ("get", "post", "put", "patch", "delete")


class Part(BaseModel):
    """A part of the file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, dict | list):
        raise ValueError("an expression is wanted here, such as body.id")
    return value


def _in_a_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Code = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""An expression."""
Has = Annotated[list[Code], BeforeValidator(_in_a_list, json_schema_input_type=Code | list[Code])]
"""One expression, or several."""
Name = Annotated[str, Field(pattern=NAME, max_length=60)]
Reason = Annotated[str, Field(min_length=3)]
Sent = Annotated[Any, WithJsonSchema({})]
"""What is sent: any JSON, with ``${…}`` in its texts."""
Fields = dict[str, Sent]
Results = dict[str, Code]


class Setting(Part):
    """A setting of the connector's own, below ``[crm]`` in the adapter's settings."""

    help: Reason = Field(description="What it is and where the operator finds it.")
    secret: bool = Field(False, description="Is sent only, never shown; may also come from a file.")
    optional: bool = Field(False, description="May be left out; it is nothing then.")
    type: Literal["text", "whole", "number", "yes_no", "zone"] = Field(
        "text", description="`zone` is a time zone, such as Europe/Moscow."
    )
    default: str | int | bool | Decimal | None = Field(None, description="The value where none is given.")
    choices: list[str] | None = Field(None, min_length=1, description="The texts that it may be.")


class Outcome(Part):
    """What an answer means, where its condition holds."""

    when: Code
    is_: str = Field(alias="is")


class Pages(Part):
    """How to get the rest of a long list."""

    by: Literal["page", "offset", "cursor"]
    name: str | None = Field(
        None,
        description="Name of the field that says which page. Without it, the step sends `${page}` itself.",
    )
    in_: Literal["query", "json", "form"] = Field("query", alias="in")
    rows: Code = Field(description="The rows of one answer.")
    first: int = Field(1, ge=0, description="Number of the first page (`by: page`).")
    size: int = Field(50, ge=1, le=10_000, description="Rows of a page, by which an offset grows.")
    next: Code | None = Field(None, description="The next cursor; nothing: there is no more.")
    last: Code | None = Field(
        None,
        description="True when there is no more. Without it and `next`, a page is asked for until one has no "
        "rows: for fewer calls, write `length(body.rows) < 50`, if the CRM fills its pages.",
    )
    most: int = Field(20, ge=1, le=100_000, description="Pages asked for at most.")
    all: bool = Field(False, description="Read to the end, whatever is wanted: the newest may be last.")


class Request(Part):
    """One call."""

    get: str | None = None
    post: str | None = None
    put: str | None = None
    patch: str | None = None
    delete: str | None = None
    query: Fields | None = None
    headers: dict[str, str] | None = None
    json_: Sent | None = Field(None, alias="json")
    form: Fields | None = None
    multipart: Fields | None = None
    auth: str | None = Field(None, description="One of `other_auth`, or `none`.")
    takes_text: bool | None = Field(
        None, description="A good answer may be text that is not JSON; body is that text then."
    )
    has: Has | None = Field(
        None,
        description="What a good answer has besides a status of 2xx: a member such as `body.id`, or a "
        "condition; one, or a list. An answer in which it is nothing or false says neither yes nor no.",
    )

    @property
    def method_and_path(self) -> tuple[str, str] | None:
        for method in METHODS:
            path: str | None = getattr(self, method)
            if path is not None:
                return method, path
        return None

    @model_validator(mode="after")
    def _of_one_kind(self) -> Request:
        if sum(getattr(self, method) is not None for method in METHODS) > 1:
            raise ValueError("a call has one of get, post, put, patch, delete")
        if sum(body is not None for body in (self.json_, self.form, self.multipart)) > 1:
            raise ValueError("a call has one of json, form, multipart")
        return self


class Step(Request):
    """One call of an operation, and what its answer means."""

    name: Name | None = None
    when: Code | None = Field(None, description="The step is left out where this does not hold.")
    use: Name | None = Field(None, description="One of `requests`, whose parts this step goes on from.")
    with_: Fields | None = Field(None, alias="with", description="What the request calls `with`.")
    commits: bool = Field(False, description="This is the call that the operation is about.")
    prepares: bool = Field(
        False, description="It makes something that does no harm if it is left over; it is sent once."
    )
    ok: Code | None = Field(
        None, description="When the answer says that it went well, whatever its status. Else: 2xx."
    )
    outcomes: list[Outcome] = []
    save: Results = {}
    pages: Pages | None = None

    @model_validator(mode="after")
    def _fits(self) -> Step:
        if self.commits and self.prepares:
            raise ValueError("a step commits or prepares")
        if self.pages is not None and (self.commits or self.prepares):
            raise ValueError("a step with pages reads")
        if self.use is None and self.method_and_path is None:
            raise ValueError("a step has one of get, post, put, patch, delete, or use")
        if self.use is None and self.with_ is not None:
            raise ValueError("`with` goes with `use`")
        return self


class GoOn(Part):
    """Where a doubt is reconciled by doing the rest."""

    when: Code
    at: Name = Field(description="The step to go on at.")


class Reconcile(Part):
    """How it is found out what became of a write that nobody answered."""

    steps: list[Step] = Field(min_length=1)
    outcomes: list[Outcome] = []
    go_on: list[GoOn] = []
    rows: Code = Field(description="What the CRM has under our key: none, or one, or it was done twice.")
    where: Code | None = None
    result: Results = {}


class SeenRequest(Part):
    """The request an example expects."""

    get: str | None = None
    post: str | None = None
    put: str | None = None
    patch: str | None = None
    delete: str | None = None
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    json_: Sent | None = Field(None, alias="json")
    form: dict[str, str] | None = None


class Answered(Part):
    """The answer that an example gives."""

    status: int = 200
    json_: Sent | None = Field(None, alias="json")
    text: str | None = None
    headers: dict[str, str] = {}


class Exchange(Part):
    expect: SeenRequest
    answer: Answered


class Example(Part):
    """One call of an operation, with all that is sent and answered. `connector check` runs it."""

    title: str
    settings: dict[str, Sent] = {}
    input: dict[str, Sent] = {}
    key: str | None = Field(None, description="The idempotency key; KEY and zeros where none is given.")
    exchanges: list[Exchange] = []
    result: Sent | None = None
    outcome: str | None = Field(None, description="How a write ends, or the error a read raises.")
    reconcile: bool = Field(False, description="It reconciles a doubt.")


class Operation(Part):
    """What an operation does in this CRM, or why it cannot."""

    unsupported: Reason | None = Field(None, description="Why this CRM cannot do it.")
    not_written: Reason | None = Field(None, description="Why this connector does not do it.")
    partial: Reason | None = Field(None, description="For whom, or for what, it works.")
    at_once: list[Outcome] = Field([], description="What is decided without asking.")
    one_at_a_time: Code | None = Field(
        None, description="Calls for which this has the same value wait for each other."
    )
    repeats_harmlessly: bool = Field(
        False, description="Sent again after a look that found nothing, it has no second effect."
    )
    steps: list[Step] = []
    outcomes: list[Outcome] = []
    rows: Code | None = None
    where: Code | None = None
    result: Results = {}
    reconcile: Reconcile | None = None
    examples: list[Example] = []


class Oauth(Part):
    """OAuth 2 client credentials (RFC 6749, 4.4)."""

    url: str
    client_id: str
    client_secret: str
    body: Literal["form", "json"] = "form"
    credentials_in: Literal["body", "basic"] = "body"
    extra: dict[str, str] = {}
    lasts: float | int = Field(300, gt=0, description="Seconds a token lasts where the reply does not say.")


class Login(Request):
    """A call that gives a token for the calls that follow."""

    token: Code = Field(description="The token in its answer: body.token, or of a cookie in headers.")
    lasts: Code | None = Field(None, description="Seconds, or the moment it ends. Nothing: until refused.")
    send: Flow = Field(description="How the token is sent; it is called `token` there.")
    ok: Code | None = None


class Flow(Part):
    """One way to prove who we are."""

    none: Literal[True] | None = None
    basic: dict[Literal["login", "password"], str] | None = None
    bearer: str | None = None
    header: dict[str, str] | None = None
    query: dict[str, str] | None = None
    oauth: Oauth | None = None
    login: Login | None = None

    @property
    def kind(self) -> str:
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _of_one_kind(self) -> Flow:
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError(f"one of {', '.join(type(self).model_fields)} is wanted")
        return self


Flows = Annotated[
    list[Flow], BeforeValidator(_in_a_list, json_schema_input_type=Flow | list[Flow]), Field(min_length=1)
]


class Check(Part):
    """A call that needs the credentials and changes nothing, for `check`."""

    steps: list[Step] = Field(min_length=1)
    outcomes: list[Outcome] = []


class Nothing(Part):
    """A port that this CRM has nothing of."""

    unsupported: Reason


class Connector(Part):
    """The whole file."""

    connector: Literal[1] = Field(description="Version of this language.")
    name: Name
    title: Reason
    verified: Literal["documentation", "vendor client", "real server", "none"] = "none"
    extends: str | None = Field(None, description="A shipped connector, or a file beside this one.")
    base_url: str | None = Field(None, description="Where the CRM is, where that is the same for all.")
    settings: dict[Name, Setting] = {}
    key_length: int = Field(
        26,
        ge=16,
        le=26,
        description="Characters that this CRM takes of a key, such as `key_length: 20` for a field of 20. "
        "The adapter makes keys as short as that; the connector sends `${idempotency_key}` uncut.",
    )
    doubts: Literal["key", "probe", "compare", "manual"] = Field(
        description="How a write that nobody answered is reconciled, the best that is true of all of them."
    )
    auth: Flows | None = None
    other_auth: dict[Name, Flows] = {}
    headers: dict[str, str] = Field({}, description="Sent with each call, made anew for each attempt.")
    ok: Code | None = None
    content: Code | None = Field(
        None, description="What of an answer was asked for, such as body.result; expressions call it content."
    )
    outcomes: list[Outcome] = Field([], description="After those of the step and of the operation.")
    requests: dict[Name, Request] = {}
    check: Check
    operations: dict[str, Operation]


Login.model_rebuild()
