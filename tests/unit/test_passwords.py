"""Passwords of local accounts: what is kept costs a thief as much as RFC 9106 wants."""

from __future__ import annotations

from hipnode.services.desk import passwords


def test_what_is_kept_is_dear_to_guess_and_never_the_same() -> None:
    kept = passwords.hashed("correct horse battery staple")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.is_right("correct horse battery staple", kept)
    assert not passwords.is_right("correct horse battery", kept)
    assert kept != passwords.hashed("correct horse battery staple")


def test_nobodys_password_is_never_right_and_costs_as_much() -> None:
    assert not passwords.is_right("", None)
    assert passwords._nobodys().startswith("$argon2id$v=19$m=65536,t=3,p=4$")
