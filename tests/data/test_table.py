"""Tables as the published data sets write them, with files made here."""

import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from attn_jax.data import sources
from attn_jax.data.records import BadMask
from attn_jax.data.sources.known_tables import CHEXPERT_FINDINGS, NIH_FINDINGS
from attn_jax.errors import UserError


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 5), 50, np.uint8)).save(root / name)


def load(root, *, on_bad="error", **table):
    return sources.load({"source": "table", "path": str(root), "on_bad": on_bad, "table": table})


def write(root, text, name="table.csv"):
    (root / name).write_text(text)


def test_plain_table(tmp_path):
    put(tmp_path, *(f"img/{at}.png" for at in range(4)), "m/2.png")
    write(
        tmp_path,
        "\ufeffpath,label,patient_id,split,mask,sex\n"
        "img/10.png,ill,p1,train,,f\nimg/2.png,well,p2,validation,m/2.png,m\nimg/3.png,ill,,test,,\nimg/0.png,well,p2,,,m\n",
    )
    (tmp_path / "img/1.png").rename(tmp_path / "img/10.png")
    dataset = load(tmp_path, subgroup_columns=("sex",))
    assert dataset.classes == ("ill", "well") and dataset.kind == "single"
    found = [(r.image_id, r.label, r.group, r.split, dict(r.columns), r.read_mask is not None) for r in dataset.records]
    assert found == [
        ("img/0.png", 1, "p2", None, {"sex": "m"}, False),
        ("img/2.png", 1, "p2", "val", {"sex": "m"}, True),
        ("img/3.png", 0, "img/3.png", "test", {"sex": ""}, False),
        ("img/10.png", 0, "p1", "train", {"sex": "f"}, False),
    ]
    assert dataset.records[1].read_mask().all() and dataset.records[0].read().shape == (6, 5, 1)


def test_parquet_and_named_columns(tmp_path):
    put(tmp_path, *(f"{at}.jpg" for at in range(4)))
    kinds, patients = [1.0, 0.0, 1.0, 0.0], [7, 7, None, 8]
    frame = pd.DataFrame({"where": range(4), "kind": kinds, "who": patients, "label": list("abab")})
    frame.to_parquet(tmp_path / "t.parquet")
    dataset = load(tmp_path, path_column="where", label_column="kind", group_column="who")
    assert dataset.classes == ("0", "1") and [record.label for record in dataset.records] == [1, 0, 1, 0]
    assert [record.group for record in dataset.records] == ["7", "7", "2.jpg", "8"]


def test_findings_with_unknown_values(tmp_path):
    put(tmp_path, "1.png", "2.png")
    write(tmp_path, "file,edema,mass\n1.png,1,\n2.png,-1,0.0\n")
    dataset = load(tmp_path, finding_columns=("edema", "mass"))
    assert dataset.kind == "multilabel" and dataset.classes == ("edema", "mass")
    np.testing.assert_array_equal([record.label for record in dataset.records], [[1, math.nan], [math.nan, 0]])


def test_nih_chest_xray14(tmp_path):
    names = ["00000001_000.png", "00000001_001.png", "00000002_000.png"]
    put(tmp_path, f"images_001/images/{names[0]}", f"images_002/images/{names[1]}", f"images_002/images/{names[2]}")
    write(
        tmp_path,
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
        f"{names[0]},Cardiomegaly|Pleural_Thickening,0,1,58,M,PA\n{names[1]},No Finding,1,1,58,M,AP\n"
        f"{names[2]},Hernia,0,2,81,F,PA\n",
        "Data_Entry_2017_v2020.csv",
    )
    write(
        tmp_path,
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        f"{names[2]},Hernia,1.2,2.1,2.7,2.2,,,\n{names[2]},Mass,0,0,1,1,,,\n00000009_000.png,Mass,0,0,1,1,,,\n",
        "BBox_List_2017.csv",
    )
    dataset = load(tmp_path)
    boxed = np.zeros((6, 5), bool)
    boxed[0, 0] = boxed[2:4, 1:4] = True
    assert [record.read_mask is not None for record in dataset.records] == [False, False, True]
    np.testing.assert_array_equal(dataset.records[2].read_mask(), boxed)
    assert dataset.classes == NIH_FINDINGS and len(NIH_FINDINGS) == 14 and dataset.kind == "multilabel"
    present = [{NIH_FINDINGS[at] for at in np.flatnonzero(record.label)} for record in dataset.records]
    assert present == [{"Cardiomegaly", "Pleural_Thickening"}, set(), {"Hernia"}]
    assert [record.group for record in dataset.records] == ["1", "1", "2"]
    assert dataset.records[2].columns == {"Patient Age": "81", "Patient Gender": "F", "View Position": "PA"}
    assert {record.split for record in dataset.records} == {None}
    write(tmp_path, f"{names[0]}\n{names[1]}\n", "train_val_list.txt")
    write(tmp_path, f"{names[2]}\n", "test_list.txt")
    assert [record.split for record in load(tmp_path).records] == ["train", "train", "test"]


def test_rsna_has_a_row_a_box(tmp_path):
    put(tmp_path, *(f"images/{name}.png" for name in "abcd"))
    write(
        tmp_path,
        "patientId,x,y,width,height,Target\na,1.0,2.0,2.0,3.0,1\na,4.0,0.0,1.0,1.0,1\nb,,,,,0\nc,0,0,1,1,1\nd,,,,,0\n",
        "stage_2_train_labels.csv",
    )
    dataset = load(tmp_path)
    assert dataset.classes == ("no opacity", "opacity") and dataset.kind == "single"
    assert [(record.label, record.group) for record in dataset.records] == [(1, "a"), (0, "b"), (1, "c"), (0, "d")]
    boxed = np.zeros((6, 5), bool)
    boxed[2:5, 1:3] = boxed[0, 4] = True
    np.testing.assert_array_equal(dataset.records[0].read_mask(), boxed)
    assert dataset.records[1].read_mask is None


def test_boxes_by_corners_where_no_mask_is_named(tmp_path, capsys):
    put(tmp_path, *(f"{at}.png" for at in range(4)), "m/2.png")
    write(tmp_path, "path,label,mask\n0.png,a,\n1.png,b,\n2.png,a,m/2.png\n3.png,b,\n")
    write(
        tmp_path,
        "image_id,class_name,x_min,y_min,x_max,y_max\n0,mass,1,1,3,2\n1,none,,,,\n2,mass,0,0,1,1\nelsewhere,mass,0,0,1,1\n"
        "3,mass,2,2,9,4\n",
        "boxes.csv",
    )
    records = load(tmp_path, file="table.csv", boxes="boxes.csv").records
    assert [record.read_mask is not None for record in records] == [True, False, True, True]
    boxed = np.zeros((6, 5), bool)
    boxed[1, 1:3] = True
    np.testing.assert_array_equal(records[0].read_mask(), boxed)
    assert records[2].read_mask().all()  # the mask counts
    with pytest.raises(BadMask, match=r"its box \(2, 2, 9, 4\) is not within its 5 x 6 pixels: was the image resized"):
        records[3].read_mask()
    put(tmp_path, "4.png")
    write(tmp_path, "path,label\n1.png,b\n2.png,a\n3.png,a\n4.png,b\n")
    load(tmp_path, file="table.csv", boxes="boxes.csv")
    assert "The boxes of 1 images are not used: table.csv names no such images." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name,x,y,w,h\n", "boxes.csv has no column for the image. Columns: name, x, y, w, h"),
        ("image,x,y,w\n", "has no column for the box"),
        ("image,x,y,w,h\n0,1,1,2,2\n0,1,,2,2\n", "boxes.csv, row 3: '1', '', '2', '2' is no box"),
        ("image,x,y,w,h\n0,1,1,-2,2\n", r"row 2: the box \(1, 1\) to \(-1, 3\) ends before it begins"),
        ("image,x0,y0,x1,y1\n0,1,1,nan,3\n", "ends before it begins"),
    ],
)
def test_boxes_with_mistakes(tmp_path, text, line):
    put(tmp_path, *(f"{at}.png" for at in range(4)))
    write(tmp_path, "path,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    write(tmp_path, text, "boxes.csv")
    with pytest.raises(UserError, match=line):
        load(tmp_path, file="table.csv", boxes="boxes.csv")
    with pytest.raises(UserError, match="data.table.boxes='box.csv' is neither"):
        load(tmp_path, file="table.csv", boxes="box.csv")


@pytest.mark.parametrize("inside", [True, False])
def test_chexpert(tmp_path, inside):
    root = tmp_path / "CheXpert-v1.0-small"
    train, valid = "train/patient00001/study1/view1_frontal.jpg", "valid/patient00002/study1/view1_frontal.jpg"
    put(root, train, valid)
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(CHEXPERT_FINDINGS) + "\n"
    values = ["1.0", "0.0", "-1.0", *[""] * 10, "1.0"]
    write(root, f"{header}{root.name}/{train},Female,68,Frontal,AP,{','.join(values)}\n", "train.csv")
    write(root, f"{header}{root.name}/{valid},Male,30,Frontal,PA,{','.join(['0.0'] * 14)}\n", "valid.csv")
    dataset = load(root) if inside else load(tmp_path, file="CheXpert-v1.0-small/train.csv")
    first = dataset.records[0]
    assert len(CHEXPERT_FINDINGS) == 14 and first.group == "patient00001" and first.columns["Sex"] == "Female"
    np.testing.assert_array_equal(first.label, [1, 0, *[math.nan] * 11, 1])
    assert first.read().shape == (6, 5, 1)
    assert [record.split for record in dataset.records] == (["train", "val"] if inside else [None])


def test_ham10000(tmp_path):
    put(tmp_path, "HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_2/ISIC_2.jpg", "ISIC_3.jpg", "ISIC_4.jpg")
    write(
        tmp_path,
        "lesion_id,image_id,dx,dx_type,age,sex,localization\nHAM_1,ISIC_1,mel,histo,80.0,male,scalp\n"
        "HAM_1,ISIC_2,mel,histo,80.0,male,scalp\nHAM_2,ISIC_3,nv,histo,40.0,female,back\n"
        "HAM_3,ISIC_4,nv,histo,,female,back\n",
        "HAM10000_metadata.csv",
    )
    write(tmp_path, "pixel0000,label\n1,2\n", "hmnist_28_28_L.csv")
    dataset = load(tmp_path)
    assert dataset.classes == ("mel", "nv") and not dataset.ordinal
    by_name = {record.image_id[-10:]: (record.group, record.label) for record in dataset.records}
    assert by_name == {
        "ISIC_1.jpg": ("HAM_1", 0), "ISIC_2.jpg": ("HAM_1", 0), "ISIC_3.jpg": ("HAM_2", 1), "ISIC_4.jpg": ("HAM_3", 1),
    }  # fmt: skip


def test_aptos(tmp_path):
    put(tmp_path, *(f"train_images/{name}.png" for name in "abcd"), "test_images/e.png")
    write(tmp_path, "id_code,diagnosis\na,0\nb,4\nc,0\nd,4\n", "train.csv")
    write(tmp_path, "id_code\ne\n", "test.csv")
    dataset = load(tmp_path)
    assert dataset.ordinal and len(dataset.classes) == 5 and dataset.classes[0] == "no DR"
    assert [record.label for record in dataset.records] == [0, 4, 0, 4]


@pytest.mark.parametrize(
    ("text", "table", "message"),
    [
        ("path,label,diagnosis\n1.png,a,b\n", {}, "'label' and 'diagnosis' could both be the label"),
        ("path,file,label\n1.png,1.png,b\n", {}, "'path' and 'file' could both be the path"),
        ("path,thing\n1.png,a\n", {}, "no column looks like the label"),
        ("path,label\n1.png,a\n", {"label_column": "lable"}, "no column 'lable'. Did you mean 'label'"),
        ("path,label\n1.png,a\n", {"label_column": "label", "finding_columns": ("label",)}, "both set"),
        ("path,label\n1.png,a\n", {"format": "nih"}, "unknown. Did you mean 'nih14'"),
        ("path,label\n1.png,a\n", {"format": "nih14"}, "is not a nih14 table"),
        ("path,label\n1.png,a\n", {"file": "other.csv"}, "neither in"),
        ("path,label\n1.png,a\n2.png,a\n", {}, "only 1 class"),
        ("path,label\n1.png,a\n2.png,a\n3.png,b\n", {}, "class 'b' has one image"),
        ("path,label,split\n1.png,a,somewhere\n", {}, "'somewhere' is no split"),
        ("path,a\n1.png,0.5\n", {"finding_columns": ("a",)}, "finding 'a' has the value '0.5'"),
        ("", {}, "cannot be read"),
    ],
)
def test_wrong_tables_say_so_in_one_line(tmp_path, text, table, message):
    put(tmp_path, "1.png", "2.png", "3.png")
    write(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, **table)
    assert "\n" not in str(caught.value)


def test_several_tables_must_be_chosen_from(tmp_path):
    for name in ("a.csv", "b.csv"):
        write(tmp_path, "path,label\n", name)
    with pytest.raises(UserError, match="holds a.csv, b.csv; name the one"):
        load(tmp_path)


def test_rows_that_cannot_be_used(tmp_path):
    put(tmp_path, *(f"{at}.png" for at in range(4)), "one/same.png", "two/same.png")
    rows = "0.png,a 1.png,a 2.png,b 3.png,b none.png,a same.png,a 0.png,b 1.png, x/0.png,b".split()
    write(tmp_path, "\n".join(["path,label", *rows]))
    with pytest.raises(UserError, match="5 of its images cannot be used, the first is none.png: no such file"):
        load(tmp_path)
    dataset = load(tmp_path, on_bad="skip")
    assert [record.image_id for record in dataset.records] == ["0.png", "1.png", "2.png", "3.png"]
    reasons = {skipped.path: skipped.reason for skipped in dataset.skipped}
    assert "2 files have this name" in reasons["same.png"] and "second row" in reasons["0.png"]
    assert "no 'label'" in reasons["1.png"] and len(reasons) == 5
