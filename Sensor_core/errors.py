"""The error tree.

EnergyError
├── RetriableError        waiting may cure it: retried with backoff, blocks one partition or one service
│   └── UnreachableError  a backing service did not answer before the deadline
├── StoppedError          the process was told to end while it waited for a backing service
├── FencedError           another instance owns this partition or lease now
├── InvalidRecordError    a message that can never be stored: goes to the dead-letter topic
├── DataFolderError       a file of a data folder is wrong: names file, line, column and value
├── ModelError            a model dump is missing, broken or does not fit this program
├── BacktestError         a backtest cannot be made as asked: names the option and what the data allow
└── SettingsError         a setting is missing, unknown or wrong: names the variable, never its value
"""


class EnergyError(Exception):
    """Base of every error that this system raises on purpose; its text is fit for a user's eyes."""


class RetriableError(EnergyError):
    """Trying again later may succeed."""


class UnreachableError(RetriableError):
    """A backing service did not answer before the deadline."""


class StoppedError(EnergyError):
    """The process was told to end while it waited for a backing service; nothing went wrong."""


class FencedError(EnergyError):
    """The stored offset or lease is not the one that this instance left: somebody else went on."""


class InvalidRecordError(EnergyError):
    """A message that no later attempt can store; ``reason`` says why in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DataFolderError(EnergyError):
    """A data folder cannot be used as it is."""

    @classmethod
    def at(cls, file: object, line: int, column: str, value: object, problem: str) -> "DataFolderError":
        """Build the error for one cell of a file (line 1 is the header)."""
        return cls(f"{file}, line {line}, column {column}: {value!r} {problem}")


class ModelError(EnergyError):
    """A model dump is missing, broken, tampered with, or made for other features."""


class BacktestError(EnergyError):
    """A backtest cannot be made as it was asked for."""


class SettingsError(EnergyError):
    """A setting is missing, unknown or wrong."""
