"""rebase_keys as nearly every chunk has it: the positions do not start again, and nothing is to be done."""

from penstock.runtime.rope import rope_table

from ..op_benchmark import OpBenchmark

BENCHMARK = OpBenchmark("rebase_keys", "dit", {}, values=lambda call: {"rope": rope_table(call.shapes["rope"][1])})
