"""Every field a study's config has, with its default; a file in `configs/` changes what it must."""

from ml_collections import ConfigDict

from attn_jax.study.axes import AXES


def default_config() -> ConfigDict:
    """A study of {none, SE, CBAM, GC} on simulated radiographs; fields are explained where they stand."""
    config = ConfigDict()
    config.name = "study"
    config.title = "Attention in a ResNet"
    config.description = ""
    config.baseline = "none"  # the mechanism all others are compared with
    config.seed = 0  # of initialisation, order and augmentation; the split has its own
    config.data = _data()
    config.datasets = ConfigDict()  # several data sets: name -> fields that replace those of config.data
    config.augment = _augment()
    config.task = ConfigDict(
        dict(
            label_smoothing=0.0,
            focal_gamma=0.0,  # focal loss; 0 is cross-entropy
            class_weights="none",  # none | balanced: weigh the loss by inverse class frequency
            sampling="natural",  # natural | balanced: draw every class equally often
        )
    )
    config.model = ConfigDict(
        dict(
            name="resnet18",
            attention="none",  # a name, or package.module:Class
            attention_options=ConfigDict(),
            placement="",  # block | stage | conv; empty: the mechanism's usual one
            stages=(),  # which get it; empty: those usual for the mechanism
            identity_start=False,  # each mechanism begins as the identity: for pretrained weights
            stem="imagenet",  # imagenet | small: 3x3 without stride or pooling
            width=1.0,
            weights="",  # a .safetensors file with torchvision's or timm's names
            dtype="float32",  # of the computation: float32 | bfloat16; parameters are float32
        )
    )
    config.optim = ConfigDict(
        dict(
            name="adamw",
            learning_rate=1e-3,
            weight_decay=1e-4,
            momentum=0.9,
            options=ConfigDict(),  # further arguments of the optax optimiser
            schedule="cosine",
            warmup_epochs=1.0,
            end_factor=0.0,
            clip_norm=1.0,
            alpha_factor=1.0,  # with model.identity_start: alpha's learning rate over that of all else
            freeze=(),  # prefixes of modules that do not move
            unfreeze_epoch=0,
        )
    )
    config.training = ConfigDict(
        dict(
            epochs=30,
            batch_size=32,
            accumulate=1,
            ema_decay=0.0,
            eval_every=1,  # epochs
            metric="auc",  # of the validation part, picks the best parameters: auc, loss, accuracy, ...
            patience=0,  # validations without a gain before an early stop; 0: never
            parallel="jit",  # jit | pmap
            log_every=10,  # steps
            checkpoint_seconds=60.0,
        )
    )
    config.explain = ConfigDict(
        dict(
            layer="",  # Grad-CAM's and its kin's; empty: the last block
            gallery=8,  # rows of the gallery
            methods=("grad_cam",),  # whose maps are scored; none: ()
            scored=16,  # test images with the explained class that are changed, and shown to randomised networks
        )
    )
    config.report = ConfigDict(
        dict(
            pictures=True,
            metric="auc",  # what mechanisms are ranked and compared by
            margin=0.02,  # a difference in it too small to matter, decided beforehand
        )
    )
    config.grid = ConfigDict({axis: () for axis in AXES})  # an empty axis is not varied
    config.grid.attention = ("none", "se", "cbam", "gc")
    config.grid.seed = (0, 1, 2)
    config.only = ""  # a subset of the grid: "attention=se,dataset=brain_mri"; several values: "seed=0|1"
    return config


def _data() -> ConfigDict:
    return ConfigDict(
        dict(
            name="phantom",
            source="folder",  # folder | table | medmnist | tfds | dicom | nifti | phantom
            path="",  # empty: simulated images
            image_size=128,
            channels=3,
            volume=False,
            on_bad="error",  # error | skip
            group_regex="",  # takes the patient from the file name
            positive="",  # the positive one of two classes
            ordinal=False,
            cache="auto",  # auto | memory | disk
            normalize="dataset",  # dataset | imagenet | half
            labels="true",  # true | random: those of the training part are shuffled, to see what there is without them
            table=ConfigDict(
                dict(
                    file="",
                    format="auto",
                    path_column="",
                    label_column="",
                    finding_columns=(),
                    group_column="",
                    split_column="",
                    mask_column="",
                    boxes="",  # a table of boxes around findings: masks of the images that have no other
                    subgroup_columns=(),
                )
            ),
            split=ConfigDict(dict(seed=0, val=0.15, test=0.15, folds=0, fold=0, official=True, duplicates=True)),
            phantom=ConfigDict(
                dict(
                    modality="radiograph",
                    images=400,
                    images_per_patient=2,
                    positive_fraction=0.5,
                    lesion_size=0.15,
                    lesion_contrast=0.35,
                    lesions=1,
                    shortcut=0.0,
                    seed=0,
                )
            ),
        )
    )


def _augment() -> ConfigDict:
    return ConfigDict(
        dict(
            flip_lr=True,
            flip_ud=False,
            rotate=10.0,  # degrees
            scale=0.1,
            shift=0.05,
            shear=0.0,
            crop=1.0,  # smallest share of the area that is kept; 1: all
            brightness=0.1,
            contrast=0.1,
            gamma=0.0,
            noise=0.0,
            cutout=0.0,
            mixup=0.0,
            cutmix=0.0,
        )
    )
