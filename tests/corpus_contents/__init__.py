"""The table of the corpus: every file of it, and what is loaded from each.

A name that ends with a slash is a folder whose files make one document, whatever each of them is.
"""

from collections.abc import Mapping

from tests.corpus_contents import agents, dspy, inspect, references, stores, tau
from tests.corpus_contents.entries import Contents

CONTENTS: Mapping[str, Contents] = {
    name: contents
    for part in (agents, dspy, inspect, references, stores, tau)
    for name, contents in part.CONTENTS.items()
}
