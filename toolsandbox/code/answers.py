"""What a call of a code tool answers, by the contract's own types."""

from toolsandbox.contract import CaseVerdict, CodeAnswer, TestsAnswer, ValueAnswer

__all__ = ["CaseVerdict", "CodeAnswer", "TestsAnswer", "ValueAnswer"]
