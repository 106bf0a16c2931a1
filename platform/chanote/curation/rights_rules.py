"""The state of a version as a rule on rights, asked wherever rights are. It knows no exception: a review is the way."""

from collections.abc import Iterator

from chanote.curation.rules import explain_refusal
from chanote.rights.rules import AskedVersion, Finding, version_rule


@version_rule("state", exceptable=False)
def check_state(asked: AskedVersion) -> Iterator[Finding]:
    if sentence := explain_refusal(asked.version, asked.use):
        yield Finding(sentence, "", ((1, asked.version.rows),))
