# %% [markdown]
# # Cells in few photons: from frames to a decision
#
# Six frames of stained cells by a camera of which nothing is known. No clean image is used, but for the last figure,
# which checks the error that was found without one.

# %%
import matplotlib.pyplot as plt
import torch

import unveil

camera = unveil.noise.PoissonGaussian(gain=2.0, read=2.0, offset=100.0)  # what makes the frames; learning is not told
truth = torch.stack(list(unveil.data.training_cells().values()))[:, :, :128, :128]
photons = 1 + 19 * truth
frames = camera.sample(100 + 2 * photons, torch.Generator().manual_seed(0)).round()
low, high = 90.0, 150.0  # counts that become 0 and 1: networks like that scale
y = (frames - low) / (high - low)  # (6, 1, 128, 128)

# %% [markdown]
# ## Learn
#
# The family of the noise and its parameters are found in the frames; on the scale of `y` the camera has a gain of
# 2 / 60 = .033, read noise of .033 and an offset of .167. The fifth and the sixth frame are not learned from.

# %%
settings = {"training": {"batch": 16}, "estimator": {"widths": [16, 32, 48]}}  # small: a minute or two on two cores
model = unveil.learn(y[:4], steps=200, settings=settings, progress=False)
model

# %% [markdown]
# ## Does the noise model fit?
#
# It governs all that follows: where it does not fit, no figure without a reference holds.

# %%
print(model.noise_fits(y[4:]))

# %% [markdown]
# ## Look
#
# What all samples show is known; what only some show is not.

# %%
x_hat, samples = model(y[4:5]), model.sample(y[4:5], 8)
shown = {"measured": y[4], "estimate": x_hat[0], "a sample": samples[0, 0], "another": samples[1, 0]}
figure, axes = plt.subplots(1, 5, figsize=(14, 3.2), layout="constrained")
for axis, (name, x) in zip(axes, shown.items()):
    picture = axis.imshow(low + (high - low) * x[0].numpy(), cmap="gray", vmin=100, vmax=140)
    axis.set(title=name, xticks=[], yticks=[])
figure.colorbar(picture, ax=axes[3], label="counts")
spread = axes[4].imshow((high - low) * samples.std(0)[0, 0].numpy(), cmap="inferno", vmin=0)
axes[4].set(title="deviation of the samples", xticks=[], yticks=[])
figure.colorbar(spread, ax=axes[4], label="counts")
plt.show()

# %% [markdown]
# ## How good is it?
#
# The error without a reference, with its interval, beside what it is here, where the truth is known.

# %%
for k, result in enumerate(model.evaluate(y[4:], sampled=1), start=4):
    error, se = float(result.risk.error), float(result.risk.se)
    true = float((result.x_hat - (100 + 2 * photons[k] - low) / (high - low)).square().mean())
    rms = [(high - low) * max(e, 0.0) ** 0.5 for e in (error, error - 1.96 * se, error + 1.96 * se, true)]
    print(f"frame {k}: error {rms[0]:.2f} counts ({rms[1]:.2f} to {rms[2]:.2f}) without truth; in truth {rms[3]:.2f}")

# %% [markdown]
# ## Decide
#
# The model fits and the interval holds the true error: intensities may be read to within that many counts (rms). A
# bright spot is real where the deviation is small against its height. Longer training (`steps=3000`) makes the
# estimate better, not the statements about it truer.
#
# `model.save("run")` writes a folder that the commands open: `unveil evaluate run FRAMES` makes the whole report.
