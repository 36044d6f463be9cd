from lightning_gen import compose
from lightning_gen.config import build_data
from lightning_gen.testing import check_data


def test_my_option():
    check_data("my_option", "data.num_images=64")


def test_shapes_of_each_class_differ_in_area():
    data = build_data(compose(["data=my_option", "data.num_images=200"]).data)
    source = data.sources["train"]
    areas = [source.images[source.labels == label].float().mean() for label in range(data.num_classes)]
    disc, square, cross = areas
    assert 0 < cross < disc < square
