from django.urls import path

from rewards.api.views import RewardViewSet

urlpatterns = [
    path("rewards", RewardViewSet.as_view({"get": "claimable"})),
    path("rewards/_claim", RewardViewSet.as_view({"post": "claim"})),
]
