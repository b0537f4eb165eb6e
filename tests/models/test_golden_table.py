"""Parameters, exact, and multiply-accumulates at 224 pixels, within 0.1 %, of networks with each mechanism.

The numbers are others': published, or counted on PyTorch's, timm's, pytorchcv's and keras-cv-attention-models' networks
and on the authors' modules in torchvision's ResNets. None stands where there is no such number.
"""

import jax
import jax.numpy as jnp
import pytest

from attn_jax import models
from attn_jax.models import cost

IN_STAGE_3 = {"placement": "stage", "stages": (3,)}

# Left out is what is no mechanism of ours in a slot of ours: SE with hidden channels rounded to 8, SNL, SK with one
# grouped branch of two, timm's skresnets and networks of 26 layers, five double attentions, VAN.
# Mechanism, its options and place, then for ResNet-18, -34 and -50 the parameters and the GMACs.
TABLE = [
    ("none", {}, {}, (11_689_512, 21_797_672, 25_557_032), (1.814, 3.664, 4.0892)),
    ("se", {}, {}, (11_778_592, 21_958_868, 28_088_024), (1.8142, 3.6639, 4.0917)),
    ("se", {"use_bias": False}, {}, (11_776_552, 21_954_856, 28_071_976), (None, None, 4.0917)),
    ("cbam", {"use_bias": False}, {}, (11_777_352, 21_956_456, 28_073_576), (None, None, 4.0956)),
    ("cbam", {}, {}, (11_779_392, 21_960_468, 28_089_624), (1.8151, 3.6654, 4.0956)),
    ("bam", {}, {}, (11_712_503, 21_820_663, 25_915_099), (1.8192, 3.6689, 4.1713)),
    ("eca", {}, {}, (11_689_548, 21_797_746, 25_557_118), (1.8141, 3.6638, 4.0893)),
    ("gc", {}, {}, (11_780_760, 21_963_132, 28_105_032), (1.8157, 3.6667, 4.1027)),
    ("gc", {"reduction": 8}, {}, (11_868_160, 22_121_024, 30_622_808), (None, None, 4.1053)),
    ("gc", {"reduction": 4}, {}, (12_042_960, 22_436_808, 35_658_360), (None, None, 4.1103)),
    ("gc", {}, IN_STAGE_3, (None, None, 25_690_345), (None, None, 4.0897)),
    ("ge", {}, {}, (11_689_512, 21_797_672, 25_557_032), (None, None, 4.0892)),
    ("ge", {"variant": "theta"}, {}, (12_445_992, 23_185_064, 31_106_600), (1.8148, 3.6651, 4.0947)),
    ("ge", {"variant": "theta_plus"}, {}, (12_535_072, 23_346_260, 33_637_592), (1.8149, 3.6653, 4.0972)),
    ("srm", {}, {}, (11_697_192, 21_812_776, 25_617_448), (None, None, 4.0892)),
    ("gct", {}, {}, (11_695_272, 21_809_000, 25_602_344), (None, None, 4.0892)),
    ("fca", {}, {}, (11_776_552, 21_954_856, 28_071_976), (None, None, 4.0917)),
    ("nam", {}, {}, (11_693_352, 21_805_224, 25_587_240), (None, None, 4.0892)),
    ("sge", {}, {}, (11_690_536, 21_799_720, 25_559_080), (None, None, 4.0892)),
    ("sse", {}, {}, (11_691_440, 21_801_464, 25_572_152), (None, None, 4.0947)),
    ("scse", {}, {}, (11_780_520, 21_962_660, 28_103_144), (None, None, 4.0972)),
    ("scse", {"reduction": 2}, {}, (12_390_640, 23_064_600, 45_714_360), (None, None, 4.1148)),
    ("triplet", {}, {}, (11_691_912, 21_802_472, 25_561_832), (1.8205, 3.6764, 4.1355)),
    ("coordinate", {}, {}, (11_764_248, 21_933_168, 27_474_864), (1.8152, 3.6659, 4.1163)),
    ("simam", {}, {}, (11_689_512, 21_797_672, 25_557_032), (None, None, 4.0892)),
    ("shuffle", {}, {}, (11_689_608, 21_797_858, 25_557_740), (None, None, 4.0892)),
    ("ema", {}, {}, (11_696_552, 21_810_424, 25_755_400), (1.8449, 3.7252, 5.0386)),
    ("mca", {}, {}, (11_689_640, 21_797_930, 25_557_310), (None, None, 4.0893)),
    ("scsa", {}, {}, (11_720_232, 21_858_088, 25_798_696), (1.8150, 3.6656, 4.1091)),
    ("psa_p", {}, {}, (13_084_072, 24_316_392, 65_811_240), (None, None, 9.04)),
    ("psa_s", {}, {}, (12_869_112, 23_928_624, 59_544_648), (None, None, 9.04)),
    ("lka", {}, {}, (12_533_672, 23_345_896, 46_839_592), (None, None, 7.786)),
    ("lka", {"wrapped": True}, {}, (13_930_152, 25_868_392, 87_108_904), (None, None, 14.363)),
    ("lsk", {}, {}, (12_885_336, 23_981_576, 56_917_640), (None, None, 9.433)),
    ("external", {}, {}, (13_210_792, 24_565_608, 66_808_104), (None, None, 11.37)),
    ("non_local", {}, IN_STAGE_3, (11_820_584, 21_928_744, 27_654_184), (None, None, 4.5396)),
    (
        *("non_local", {}, {"placement": "block", "stages": (1, 2, 3, 4)}),
        *((13_082_152, 24_312_616, 65_796_136), (None, None, None)),
    ),
    ("double", {}, IN_STAGE_3, (11_755_496, 21_863_656, 26_607_400), (None, None, 4.3204)),
    # Two 3 x 3 convolutions, and no lower limit to the hidden units.
    ("sk", {"groups": 1, "min_hidden": 1}, {}, (None, None, 37_118_080), (None, None, None)),
]
# Networks under names of their own: ours, their parameters and GMACs.
NAMED = {
    "SKNet-50": ("resnext50", "sk", 27_479_784, 4.4627),
    "ResNeSt-50": ("resnet50d", "split", 27_483_240, 5.3712),
    "SE-ResNeXt-50": ("resnext50", "se", 27_559_896, None),
    "CBAM-ResNeXt-50": ("resnext50", "cbam", 27_561_496, None),
    "BAM-ResNeXt-50": ("resnext50", "bam", 25_386_971, None),
}


CASES = {
    "-".join([attention, *map(str, (options | place).values()), network]): (network, attention, options, place, *wanted)
    for attention, options, place, parameters, gmacs in TABLE
    for network, *wanted in zip(("resnet18", "resnet34", "resnet50"), parameters, gmacs, strict=True)
    if wanted[0] is not None
}


def counted(network, attention, **options):
    """Parameters and GMACs, from one trace."""
    model = models.create(network, num_classes=1000, attention=attention, **options)
    parameters = []

    def initialise(x):
        logits, variables = model.init_with_output(jax.random.key(0), x, train=False)
        parameters.append(cost.parameters(variables))
        return logits

    macs = cost.macs(initialise, jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
    return *parameters, macs / 1e9


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.full) if "resnet34" in case else case for case in CASES]
)
def test_resnets(case):
    network, attention, options, place, parameters, gmacs = CASES[case]
    found, found_gmacs = counted(network, attention, attention_options=options, **place)
    assert found == parameters
    if gmacs is not None:
        assert found_gmacs == pytest.approx(gmacs, rel=1e-3)


@pytest.mark.parametrize("name", NAMED)
def test_networks_of_their_own(name):
    network, attention, parameters, gmacs = NAMED[name]
    found, found_gmacs = counted(network, attention)
    assert found == parameters
    if gmacs is not None:
        assert found_gmacs == pytest.approx(gmacs, rel=1e-3)


def test_botnet_50():
    """The number is that of a last stage without stride: three tables for 14 x 14, two of them for 7 x 7 here."""
    per_distance = 2 * 128
    assert counted("resnet50", "mhsa")[0] == 20_859_176 - 2 * per_distance * ((2 * 14 - 1) - (2 * 7 - 1))


def test_aa_resnet_50():
    """Published with one digit of millions."""
    assert counted("resnet50", "aa")[0] == pytest.approx(25.8e6, abs=0.05e6)


# Blocks of ResNet-50 and the channels of their 3 x 3 convolutions.
BLOCKS = ((3, 64), (4, 128), (6, 256), (3, 512))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        # Queries, keys and values; on two axes an entry of each of 8 heads for 2 (8 + 2 * 3) - 1 distances.
        ("halo", lambda c: 3 * c**2 + 2 * 27 * c // 8),
        # 4 queries and a key of 16, values for 4 heads; two normalisations; 9 x 9 from 1 to 16 channels.
        ("lambda", lambda c: c * (4 * 16 + 16 + c // 4) + 2 * (4 * 16 + c // 4) + 81 * 16 + 16),
    ],
)
def test_resnet_50_with_a_layer_instead_of_its_convolutions(name, layer):
    plain = 25_557_032 - sum(count * 9 * channels**2 for count, channels in BLOCKS)
    assert counted("resnet50", name)[0] == plain + sum(count * layer(channels) for count, channels in BLOCKS)
