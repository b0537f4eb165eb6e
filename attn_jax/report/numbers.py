"""Numbers as people read them; a number that does not exist is a dash."""

import math

DASH = "\u2014"
MINUS = "\u2212"

TITLES = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "f1": "F1",
    "mcc": "MCC",
    "kappa": "Kappa",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece": "ECE",
}


def metric_title(name: str) -> str:
    """The name of a metric as papers write it."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def fixed(value: float | None, digits: int = 3) -> str:
    """A number to `digits` decimals with a true minus sign; a dash for None and NaN."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference, its sign always shown: +0.012, −0.004, ±0.000 when it rounds to nothing."""
    text = fixed(value, digits)
    if text == DASH or text.startswith(MINUS):
        return text
    return f"+{text}" if float(text) else f"±{text}"


def spread(mean: float | None, sd: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """`0.912 ± 0.010`, or the mean alone where no standard deviation exists."""
    text = signed(mean, digits) if sign else fixed(mean, digits)
    return text if sd is None or text == DASH else f"{text} ± {fixed(sd, digits)}"


def p_value(value: float | None) -> str:
    """A p value to three decimals, `<0.001` below."""
    return "<0.001" if value is not None and value < 0.001 else fixed(value)


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands, as journals set it: `11 689`."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{round(value):,}".replace(",", "\u202f")


def scaled(value: float | None, units: tuple[str, ...], base: float = 1000.0) -> str:
    """Three figures and the unit that fits: `scaled(3.2e6, ("", "k", "M"))` is `3.20 M`."""
    if value is None or not math.isfinite(value):
        return DASH
    for unit in units:
        if abs(value) < base * 0.9995 or unit == units[-1]:
            break
        value /= base
    size = abs(value)
    digits = 0 if size >= 99.95 or (unit == units[0] and value == round(value)) else 1 if size >= 9.995 else 2
    return f"{value:.{digits}f}\u00a0{unit}".rstrip("\u00a0")


def parameters(value: float | None) -> str:
    """A number of parameters: `11.2 M`."""
    return scaled(value, ("", "k", "M", "G"))


def operations(gmacs: float | None) -> str:
    """Floating-point operations of one forward pass, two for each multiply-add: `3.64 GFLOPs`."""
    return scaled(None if gmacs is None else 2e9 * gmacs, ("FLOPs", "kFLOPs", "MFLOPs", "GFLOPs", "TFLOPs"))


def size(value: float | None) -> str:
    """Bytes in powers of 1024: `212 MiB`."""
    return scaled(value, ("B", "KiB", "MiB", "GiB", "TiB"), 1024.0)


def time(seconds: float | None) -> str:
    """A duration from milliseconds to hours: `84.0 ms`, `3 min 20 s`."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 1:
        return f"{1000 * seconds:#.3g}".rstrip(".") + "\u00a0ms"
    if seconds < 59.95:
        return f"{seconds:#.3g}".rstrip(".") + "\u00a0s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}\u00a0min {whole % 60:02d}\u00a0s"
    return f"{whole // 3600}\u00a0h {whole % 3600 // 60:02d}\u00a0min"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
