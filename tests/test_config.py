"""Is a recipe read as written, and is a slip of the pen told with the nearest right word?"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from melascope.config import (
    AugmentRecipe,
    LossRecipe,
    ModelRecipe,
    Recipe,
    SegmenterRecipe,
    TrainRecipe,
    doubts_about,
    read_experiment,
    read_recipe,
    read_segmenter_recipe,
    recipe_toml,
)
from melascope.errors import RecipeError

SHIPPED = Path(__file__).parents[1] / "recipes"
LISTS = sorted((SHIPPED / "experiments").glob("*.toml"))
SEGMENTER = SHIPPED / "segmenter.toml"
RECIPES = sorted(set(SHIPPED.rglob("*.toml")) - {*LISTS, SEGMENTER})


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_only_a_name_is_needed_and_the_rest_is_the_seeds_baseline(tmp_path):
    recipe = read_recipe(written(tmp_path, 'name = "x"\n'))
    assert (recipe.model.backbone, recipe.model.dropout, recipe.loss.name) == (
        "efficientnet_b0",
        0.2,
        "weighted_cross_entropy",
    )
    assert (recipe.train.learning_rate, recipe.train.weight_decay) == (3e-4, 1e-4)
    assert (recipe.train.batch_size, recipe.train.epochs, recipe.input.width, recipe.input.height) == (32, 10, 224, 224)
    assert (recipe.target, recipe.target_sensitivity) == (("mel",), 0.90)
    assert recipe.operating_point_rule == "guaranteed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sead = 2", "sead: unknown key; did you mean seed?"),
        ("[train]\nlearning_rat = 1", "train.learning_rat: unknown key; did you mean learning_rate?"),
        ("[model]\nzzz = 1", "model.zzz: unknown key; known here: backbone, pretrained, init, dropout, drop_path"),
        ("[trian]\nepochs = 1", "trian: unknown key; did you mean train?"),
        ("[train]\nepochs = 0", "train.epochs: Input should be greater than or equal to 1 (found 0)"),
        ("[train]\nepochs = 'ten'", "train.epochs: Input should be a valid integer"),
        ("[train]\nschedule = 'linear'", "train.schedule: Input should be 'constant' or 'cosine' (found 'linear')"),
        ("[input]\nmean = [0.5]", "input.mean"),
        ("operating_point_rule = 'grid'", "operating_point_rule: Input should be 'guaranteed' or 'empirical'"),
        ("target = ['melanoma']", "target: Value error, should be some, not all, of akiec, bcc"),
        ("target = []", "target: Value error, should be some, not all"),
        ("target = ['mel', 'mel']", "each once (found ['mel', 'mel'])"),
        ("train = 3", "train: Input should be"),
        ("[train]\nfloor_by = 'accuracy'", "train: Value error, floor_by and floor belong together"),
        ("[train]\nfloor_by = 'macro_f1'\nfloor = 0.5", "floor_by should be another figure than macro_f1"),
        ("[train]\nselect_by = 'auroc'", "train.select_by: Input should be 'accuracy', 'balanced_accuracy'"),
        ("[train]\nresizing = [0.5]", "train.resizing: Value error, should end with 1.0"),
        ("[train]\nresizing = []", "train.resizing: Value error, should end with 1.0"),
        ("[train]\nresizing = [0.0, 1.0]", "train.resizing.0: Input should be greater than 0"),
        ("[train]\nepochs = 1\nresizing = [0.5, 1.0]", "resizing names 2 sizes for 1 epochs"),
        ("[augment]\nhair = 1.5", "augment.hair: Input should be less than or equal to 1"),
        ("[augment]\nhairs = 0.5", "augment.hairs: unknown key; did you mean hair?"),
        ("[predict]\nviews = 'ten'", "predict.views: Input should be 'one' or 'mirrored'"),
    ],
)
def test_a_wrong_key_or_value_is_told_with_its_place(tmp_path, text, says):
    path = written(tmp_path, f'name = "x"\n{text}\n')
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert says in str(caught.value) and caught.value.where == path


def test_all_problems_are_told_at_once(tmp_path):
    with pytest.raises(RecipeError, match="4 problems") as caught:
        read_recipe(written(tmp_path, 'name = "A name"\nsead = 1\n[train]\nepochs = 0\nbatchsize = 4\n'))
    for part in ("name:", "sead:", "train.epochs:", "train.batchsize: unknown key; did you mean batch_size?"):
        assert part in str(caught.value)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", None])
def test_what_is_no_toml_is_told(tmp_path, content):
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"not valid TOML|cannot be read") as caught:
        read_recipe(path)
    assert caught.value.where == path


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    assert read_recipe(written(tmp_path, '\ufeffname = "x"\n')).name == "x"


def test_changes_replace_top_keys_unless_none(tmp_path):
    path = written(tmp_path, 'name = "x"\nseed = 3\n')
    assert read_recipe(path, seed=7).seed == 7 and read_recipe(path, seed=None).seed == 3
    with pytest.raises(RecipeError, match="did you mean seed"):
        read_recipe(path, sed=7)


def test_imagenet_weights_are_the_default_unless_there_is_an_init_file(tmp_path):
    path = written(tmp_path, 'name = "x"\n')
    assert read_recipe(path).model.pretrained
    given = read_recipe(path, init=Path("weights.safetensors")).model
    assert (given.init, given.pretrained) == ("weights.safetensors", False)
    assert read_recipe(written(tmp_path, 'name = "x"\n[model]\ninit = "w.safetensors"\n')).model == ModelRecipe(
        init="w.safetensors", pretrained=False
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": {"select_by": "mel_sensitivity"}}, "calls everything a melanoma"),
        ({"train": {"select_by": "mel_specificity"}}, "calls nothing a melanoma"),
        ({"train": {"sampler": "balanced"}}, "both make up for rare classes"),
        ({"train": {"select_by": "nll"}}, "shifted"),
    ],
)
def test_what_hardly_ever_makes_sense_is_told(changes, says):
    (doubt,) = doubts_about(Recipe.model_validate({"name": "x", **changes}))
    assert says in doubt


def test_a_recipe_with_a_floor_and_every_shipped_one_raise_no_doubt():
    floor = {"select_by": "mel_sensitivity", "floor_by": "balanced_accuracy", "floor": 0.6}
    assert doubts_about(Recipe.model_validate({"name": "x", "train": floor})) == []
    assert [doubts_about(read_recipe(path)) for path in RECIPES] == [[]] * len(RECIPES)


def test_a_recipe_is_frozen():
    with pytest.raises(ValidationError):
        Recipe(name="x").seed = 2


share = st.floats(0, 0.99)
positive = st.floats(1e-9, 1e3)
recipes = st.builds(
    Recipe,
    name=st.from_regex(r"\A[a-z0-9][a-z0-9_.-]*\Z"),
    seed=st.integers(0, 2**40),
    target=st.sampled_from([("mel",), ("mel", "bcc", "akiec")]),
    target_sensitivity=st.floats(0.01, 0.99),
    operating_point_rule=st.sampled_from(["guaranteed", "empirical"]),
    model=st.builds(ModelRecipe, backbone=st.text(), pretrained=st.booleans(), init=st.text(), dropout=share),
    loss=st.builds(LossRecipe, melanoma_factor=positive, label_smoothing=share),
    augment=st.builds(AugmentRecipe, flip=st.booleans(), rotate_degrees=st.floats(0, 180)),
    train=st.builds(TrainRecipe, learning_rate=positive, schedule=st.sampled_from(["constant", "cosine"])),
)


@settings(max_examples=100, deadline=None)
@given(recipes)
def test_a_resolved_recipe_reads_back_equal(recipe):
    assert Recipe.model_validate(tomllib.loads(recipe_toml(recipe))) == recipe


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_read(path):
    recipe = read_recipe(path)
    assert recipe.name and Recipe.model_validate(tomllib.loads(recipe_toml(recipe))) == recipe


def test_the_shipped_recipe_of_the_segmenter_can_be_read_and_is_none_of_a_classifier():
    recipe = read_segmenter_recipe(SEGMENTER)
    assert recipe.name and SegmenterRecipe.model_validate(tomllib.loads(recipe_toml(recipe))) == recipe
    with pytest.raises(RecipeError, match="network: unknown key"):
        read_recipe(SEGMENTER)


def test_the_course_projects_rows_differ_in_what_they_are_named_after_and_in_nothing_else():
    """All but the last row, which is ours, are the course project's: another loss or another sampler."""
    as_trained, as_here = (
        read_experiment(SHIPPED / "experiments" / name) for name in ("course_rows.toml", "reference_course_rows.toml")
    )
    assert as_trained[0].seeds == (1, 2, 3)
    assert {recipe.model.backbone for recipe in as_trained[1]} == {"efficientnet_b0"}
    named_after = {("loss", "name"), ("loss", "melanoma_factor"), ("train", "sampler")}
    for _, (baseline, sampler, melanoma, ours) in (as_trained, as_here):
        assert baseline.loss == LossRecipe()
        assert changed(baseline, sampler) == {("loss", "name"), ("train", "sampler")}
        assert (sampler.loss.name, sampler.train.sampler) == ("cross_entropy", "balanced")
        assert changed(baseline, melanoma) == {("loss", "melanoma_factor")} and melanoma.loss.melanoma_factor == 3
        assert changed(baseline, ours) - named_after
    assert ours == read_recipe(SHIPPED / "reference" / "reference.toml")


def test_the_reference_model_lacks_one_part_at_a_time():
    parts = {
        "without-imagenet": {("model", "init")},
        "without-resizing": {("train", "resizing"), ("train", "epochs")},  # as long by the clock
        "without-averaging": {("train", "ema_decay")},
        "without-crop": {("augment", "crop")},
        "without-views": {("predict", "views")},
    }
    lists = {path.stem: read_experiment(path) for path in LISTS if path.stem.startswith("reference")}
    assert {listed.name for listed, _ in lists.values()} == {"reference"}  # they may share one folder, and do
    (reference,) = lists["reference"][1]
    assert lists["reference"][0].seeds == (1, 2, 3)
    first, *others = lists["reference_without"][1]
    assert first == reference and {recipe.name: changed(reference, recipe) for recipe in others} == parts


def test_from_scratch_lacks_one_part_at_a_time_and_plain_lacks_all():
    parts = {
        "without-crop": {("augment", "crop")},
        "without-averaging": {("train", "ema_decay")},
        "without-views": {("predict", "views")},
        "without-resizing": {("train", "resizing"), ("train", "epochs")},  # as long by the clock
    }
    listed, (scratch, adjusted, *others) = read_experiment(SHIPPED / "experiments" / "from_scratch_without.toml")
    beside, (same, plain, larger) = read_experiment(SHIPPED / "experiments" / "from_scratch_parts.toml")
    assert listed.name == beside.name and same == scratch and beside.seeds == (1, 2, 3)
    assert {recipe.name: changed(scratch, recipe) for recipe in others} == parts
    assert changed(scratch, adjusted) == {("loss", "name")}
    assert changed(scratch, plain) == set.union(*parts.values())
    assert beside.after == {larger.name: scratch.name}
    assert larger.loss == scratch.loss and larger.model == scratch.model and larger.predict == scratch.predict


def changed(one: Recipe, other: Recipe) -> set[tuple[str, str]]:
    """Keys of two recipes' sections that differ."""
    ours, theirs = one.model_dump(), other.model_dump()
    sections = [name for name, section in ours.items() if isinstance(section, dict)]
    assert all(ours[name] == theirs[name] for name in ours if name not in sections and name != "name")
    return {(name, key) for name in sections for key in ours[name] if ours[name][key] != theirs[name][key]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recipes = []", "recipes: Tuple should have at least 1 item"),
        ("recipes = ['a.toml', 'a.toml']", "should name each once"),
        ("recipes = ['a.toml']\nfolds = 1", "should be 0 or at least 2"),
        ("recipes = ['a.toml', 'b.toml']", "have one name"),
        ("recipes = ['missing.toml']", "cannot be read"),
        ("recipes = ['a.toml']\nseed = 1", "did you mean seeds?"),
        ("recipes = ['a.toml']\n[after]\nsame = 'same'", "same cannot start from same"),
        ("recipes = ['a.toml']\n[after]\nother = 'same'", "other cannot start from same"),
    ],
)
def test_a_list_that_cannot_be_run_is_told(tmp_path, text, says):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text('name = "same"\n')
    with pytest.raises(RecipeError) as caught:
        read_experiment(written(tmp_path, f'name = "x"\n{text}\n'))
    assert says in str(caught.value)


def test_endless_nesting_is_no_traceback(tmp_path):
    (tmp_path / "r.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(RecipeError, match="nested too deeply"):
        read_recipe(tmp_path / "r.toml")
