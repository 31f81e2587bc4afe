"""Corpus files of DSPy and what is loaded from each; nothing in the corpus has the format of runs JSON."""

_DSPY = "dspy/generated_dspy_3.4.1"

CONTENTS: dict[str, str] = {
    f"{_DSPY}/miprov2/": "1 run, 12 iterations (4 full, 8 minibatch), full score 90.0",
    f"{_DSPY}/bootstrap_random_search/": "1 run, 7 iterations, 140 samples",
    f"{_DSPY}/copro/": "1 run, 3 iterations",
    f"{_DSPY}/simba/": "1 run, 3 iterations",
    f"{_DSPY}/gepa/": "1 run, 3 iterations, 60 samples; the pickle in its log_dir is named as left out, never opened",
    f"{_DSPY}/evaluate/": "1 run (an evaluation), 1 iteration, 20 samples; result.csv holds the same rows",
    f"{_DSPY}/optimizers.log": "nothing: text for people",
    f"{_DSPY}/run.json": "nothing: which jobs made the folders",
    "dspy/found/knutole__optimized_program.json": "1 run without iterations: a saved program has no scores",
    "dspy/found/robjsliwa__compiled_program.json": "1 run without iterations: a saved program has no scores",
    "dspy/found/gepa__legacy_test_state.bin": "nothing: a pickle, refused and never opened",
}
