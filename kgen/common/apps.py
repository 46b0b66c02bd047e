from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "kgen.common"
    label = "common"
