"""Methods 8 and 9, both of which a service may leave out: offers, and the lists of all users."""

from __future__ import annotations

import re
from typing import Any

from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.trial import Trial


@check("KLO-8-02")
async def offers_are_an_array(trial: Trial) -> None:
    """Offers are answered 200 with an array of objects"""
    answer = await trial.offers(await trial.existing_number())
    trial.need(not answer.refused, "the service offers no such method (offers_path)")
    good = isinstance(answer.json, list) and all(isinstance(one, dict) for one in answer.json)
    trial.that(answer.ok and good, "an array of objects", answer, path="$")


async def _listed(trial: Trial, name: str) -> tuple[Answer, Any]:
    answer = await trial.users(name)
    trial.need(not answer.refused, f"the service does not offer {name}")
    trial.need(not answer.cut, f"{name} is too long to be read to its end")
    return answer, answer.json


def _is_phone(value: object) -> bool:
    text = str(value)
    return text.isascii() and text.isdigit() and 5 <= len(text) <= 15 and not text.startswith("0")


def _form(value: object) -> str:
    """What a text looks like, with nothing of it: a phone may be a stranger's."""
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", str(value)))[:40] or "an empty text"


@check("KLO-9-01")
async def users_are_an_array_of_strings(trial: Trial) -> None:
    """getAllUsers is an array of strings"""
    answer, listed = await _listed(trial, "getAllUsers")
    good = isinstance(listed, list) and not any(isinstance(one, (dict, list)) for one in listed)
    trial.that(answer.ok and good, "an array of strings", answer, path="$")


@check("KLO-9-02")
async def users_are_phones(trial: Trial) -> None:
    """Each of them is digits with the country code"""
    answer, listed = await _listed(trial, "getAllUsers")
    trial.need(isinstance(listed, list) and listed, "there is no array, or nobody in it")
    trial.need(not any(isinstance(one, (dict, list)) for one in listed), "elements are no strings")
    for index, one in enumerate(listed):
        trial.that(
            _is_phone(one), "digits, no plus", f"the form {_form(one)}", answer=answer, path=f"$[{index}]"
        )


@check("KLO-9-03")
async def extended_users_are_objects(trial: Trial) -> None:
    """getAllUsersExtended is an array of objects"""
    answer, listed = await _listed(trial, "getAllUsersExtended")
    good = isinstance(listed, list) and all(isinstance(one, dict) for one in listed)
    trial.that(answer.ok and good, "an array of objects", answer, path="$")


async def _extended(trial: Trial) -> tuple[Answer, list[dict[str, Any]]]:
    answer, listed = await _listed(trial, "getAllUsersExtended")
    trial.need(isinstance(listed, list) and listed, "there is no array, or nobody in it")
    trial.need(all(isinstance(one, dict) for one in listed), "elements are no objects")
    return answer, listed


@check("KLO-9-04")
async def extended_users_have_phones(trial: Trial) -> None:
    """Each of them has a phone of digits"""
    answer, listed = await _extended(trial)
    for index, one in enumerate(listed):
        good = "phone" in one and _is_phone(one["phone"])
        trial.that(
            good,
            "a phone of digits, no plus",
            f"the form {_form(one.get('phone'))}",
            answer=answer,
            path=f"$[{index}].phone",
        )


@check("KLO-9-05")
async def extended_users_have_params(trial: Trial) -> None:
    """Each of them has params with name and value"""
    answer, listed = await _extended(trial)
    for index, one in enumerate(listed):
        params = one.get("params")
        good = isinstance(params, list) and all(
            isinstance(param, dict) and {"name", "value"} <= param.keys() for param in params
        )
        trial.that(
            good,
            'an array of {"name": …, "value": …}',
            "an array of other elements" if isinstance(params, list) else "no array",
            answer=answer,
            path=f"$[{index}].params",
        )


@check("KLO-9-07")
async def lists_left_out_are_refused(trial: Trial) -> None:
    """A list that is not offered is answered 422"""
    answers = [await trial.users(name) for name in ("getAllUsers", "getAllUsersExtended")]
    left_out = [answer for answer in answers if not answer.ok]
    trial.need(left_out, "the service offers both")
    for answer in left_out:
        trial.that(answer.status == 422, "422", answer)
