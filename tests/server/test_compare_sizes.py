"""Pictures of many sizes are measured beside pictures of one."""

from partstream_server.benchmarks.compare.sizes import measure
from partstream_server.engine import create_engine


def test_many_sizes_need_few_compilations() -> None:
    engine = create_engine(precision="f32", num_threads=1)
    report = measure(engine, num_sizes=6)
    assert report.num_sizes == 6
    assert report.one_size_ms > 0
    assert report.ratio == report.in_turn_ms / report.one_size_ms
    shapes = engine.compiled_shapes()  # type: ignore[attr-defined]
    assert report.num_compilations == shapes.num_compilations <= 3 * 6
    assert report.resident_after_mb >= report.resident_before_mb > 0
    engine.close()
