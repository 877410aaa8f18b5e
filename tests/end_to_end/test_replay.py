from pathlib import Path

import pytest

from tests.end_to_end.replay import Replay, choose
from tests.support import corpus


@pytest.mark.skipif(not corpus.CORPUS.is_dir(), reason=corpus.MISSING)
@pytest.mark.timeout(240)
def test_recorded_exchanges_pass_unharmed_and_are_metered_as_reported(tmp_path: Path) -> None:
    replay = Replay(choose(400, seed=7), seed=7, quiet=True)

    replay.run(tmp_path)

    assert replay.passed, "\n".join(replay.report())
