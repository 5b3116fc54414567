import pytest
import torch

from partstream_export.parity import (
    LIMIT,
    Difference,
    ParityError,
    relative_difference,
    require_parity,
    worst,
)


def difference(output: str, value: float, *, case: str = "1x64x64") -> Difference:
    return Difference(graph="heads", output=output, case=case, value=value)


def test_a_difference_is_relative_to_the_largest_reference_value() -> None:
    assert relative_difference(torch.tensor([1.0, -4.0]), torch.tensor([1.5, -4.0])) == pytest.approx(0.125)


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.tensor([0.0, 1e-9])),
        (torch.ones(2), torch.tensor([1.0, torch.nan])),
        (torch.tensor([1.0, torch.inf]), torch.ones(2)),
        (torch.tensor([torch.nan]), torch.tensor([torch.nan])),
    ],
    ids=["another shape", "something beside nothing", "not a number", "infinite", "both not a number"],
)
def test_what_cannot_be_compared_is_infinitely_different(
    reference: torch.Tensor, other: torch.Tensor
) -> None:
    assert relative_difference(reference, other) == float("inf")


def test_equal_tensors_do_not_differ_even_if_zero_or_empty() -> None:
    assert relative_difference(torch.zeros(3), torch.zeros(3)) == 0
    assert relative_difference(torch.zeros(0, 4), torch.zeros(0, 4)) == 0


def test_the_worst_case_of_each_output_is_reported() -> None:
    rows = [difference("boxes", 1e-6), difference("scores", 2e-6), difference("boxes", 3e-6, case="2x96x64")]
    assert worst(rows) == [rows[2], rows[1]]


def test_a_refusal_names_the_outputs_at_fault_and_no_others() -> None:
    with pytest.raises(ParityError, match=r"heads\.scores by 2\.0e-02 at 1x64x64") as caught:
        require_parity([difference("boxes", LIMIT), difference("scores", 0.02)])
    assert "boxes" not in str(caught.value)


@pytest.mark.parametrize("value", [LIMIT * 1.01, float("inf"), float("nan")])
def test_anything_above_the_limit_is_refused(value: float) -> None:
    with pytest.raises(ParityError):
        require_parity([difference("boxes", 0.0), difference("scores", value)])
