"""What is frozen for type checkers and tests is made plainly under `-O`, and is otherwise the same."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from tollwatch.thaw import thaw


@dataclass(frozen=True, slots=True)
class _Coin:
    face: int
    worn: bool = False
    marks: list[str] = field(default_factory=list[str], hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cart:
    wheels: int = 2
    coins: tuple[_Coin, ...] = ()

    def __post_init__(self) -> None:
        if self.wheels < 1:
            raise ValueError("a cart has wheels")


def test_a_thawed_class_makes_the_same_objects() -> None:
    before, cart = _Coin(5), _Cart(coins=(_Coin(1),))
    with pytest.raises(FrozenInstanceError):
        before.face = 6  # type: ignore[misc]  # what this is about

    for each in (_Coin, _Cart):
        thaw(each)

    after = _Coin(5)
    assert after == before
    assert hash(after) == hash(before)
    assert repr(after) == repr(before)
    assert replace(after, worn=True) == _Coin(face=5, worn=True)
    assert after.marks is not _Coin(5).marks
    assert _Cart(coins=(_Coin(1),)) == cart
    with pytest.raises(ValueError, match="wheels"):
        _Cart(wheels=0)
    with pytest.raises(TypeError):
        _Cart(3)  # type: ignore[call-arg]  # by keyword only
    with pytest.raises(AttributeError):
        after.weight = 3  # type: ignore[attr-defined]  # slots stay


def test_every_value_object_of_the_gateway_can_be_thawed() -> None:
    program = (
        "import tollwatch.app; from tollwatch.thaw import thaw_all; print(thaw_all(), thaw_all());"
        "from metering.usage import Usage; one = Usage(input_tokens=1); assert one + one == Usage(input_tokens=2); one.input_tokens = 3"
    )

    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60).stdout.split()

    assert int(found[0]) > 80
    assert found[1] == found[0]
