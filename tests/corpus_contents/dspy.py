"""Files of DSPy in the corpus; nothing in the corpus has the format of runs JSON."""

from tests.corpus_contents.entries import nothing, optimization, refused

_DSPY = "dspy/generated_dspy_3.4.1"

CONTENTS = {
    f"{_DSPY}/miprov2/": optimization("dspy", runs=1, iterations=12, note="4 full, 8 minibatch; full score 90.0"),
    f"{_DSPY}/bootstrap_random_search/": optimization("dspy", runs=1, iterations=7, samples=140),
    f"{_DSPY}/copro/": optimization("dspy", runs=1, iterations=3),
    f"{_DSPY}/simba/": optimization("dspy", runs=1, iterations=3),
    f"{_DSPY}/gepa/": optimization(
        "dspy", runs=1, iterations=3, samples=60, note="the pickle in its log_dir is named as left out, never opened"
    ),
    f"{_DSPY}/evaluate/": optimization(
        "dspy", runs=1, iterations=1, samples=20, note="an evaluation; result.csv holds the same rows"
    ),
    f"{_DSPY}/optimizers.log": nothing("text for people"),
    f"{_DSPY}/run.json": nothing("which jobs made the folders"),
    "dspy/found/knutole__optimized_program.json": optimization("dspy", runs=1, note="a saved program has no scores"),
    "dspy/found/robjsliwa__compiled_program.json": optimization("dspy", runs=1, note="a saved program has no scores"),
    "dspy/found/gepa__legacy_test_state.bin": refused("dspy", "a pickle, never opened"),
}
