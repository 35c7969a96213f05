"""Its models."""

from typing import Any

from django.db import models  # type: ignore[import-untyped]

Model: Any = models.Model


class User(Model):
    email = models.CharField(max_length=100, unique=True)

    def __str__(self) -> str:
        return str(self.email)


class Pet(Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return f"pet {self.pk}"


class Job(Model):
    state = models.CharField(max_length=20)
    fence = models.BigIntegerField(null=True)

    def __str__(self) -> str:
        return str(self.state)
