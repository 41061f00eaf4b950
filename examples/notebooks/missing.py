# %% [markdown]
# # A third of the pixels is never measured: what can be learned, and what stays open
#
# One camera, one fixed mask of dead pixels, noisy photographs. No photograph without dead pixels is ever seen. That
# images may be moved is what teaches the dead pixels: where one image has a hole, a moved one has not.

# %%
import matplotlib.pyplot as plt
import torch

import unveil

generator = torch.Generator().manual_seed(0)
alive = torch.rand(48, 48, generator=generator) > 0.3
alive[20:28, 14:22] = False  # and a hole, 8 pixels across
photographs = [x.mean(0) for x in unveil.data.training_photographs().values()]
x = torch.cat([p.unfold(0, 48, 48).unfold(1, 48, 48).flatten(0, 1) for p in photographs])[::4, None]
operator = unveil.operators.inpainting(alive)
y = operator.A(x) + 0.05 * torch.randn(x.shape, generator=generator) * alive
print(f"{len(y)} measurements of {tuple(y.shape[1:])}, {alive.float().mean():.0%} of the pixels measured")

# %% [markdown]
# ## Can it be learned?
#
# `unveil check` asks that on the command line. Of one mask alone the dead pixels could be anything; moved by all
# shifts, the mask sees every place.

# %%
moved = sum(alive.float().roll((i, j), (0, 1)) for i in range(0, 48, 4) for j in range(0, 48, 4))
print(f"pixels that no shift of the mask sees: {int((moved == 0).sum())} of {moved.numel()}")

# %% [markdown]
# ## Learn

# %%
settings = {
    "training": {"batch": 8},
    "estimator": {"widths": [16, 32, 48], "prior": "white"},
    "loss": {"symmetry": ["shift", "flip"]},
}
noise = unveil.noise.Gaussian(0.05)
model = unveil.learn(y[:-4], operator=operator, noise=noise, steps=150, settings=settings, progress=False)
model

# %% [markdown]
# ## Look

# %%
held_out, clean = y[-4:], x[-4:]
x_hat, samples = model(held_out), model.sample(held_out, 8)
figure, axes = plt.subplots(2, 5, figsize=(13, 5.4), layout="constrained")
for k, row in enumerate(axes):
    shown = {"measured": held_out[k], "estimate": x_hat[k], "a sample": samples[0, k], "another": samples[1, k]}
    for axis, (name, z) in zip(row, {**shown, "truth, never seen": clean[k]}.items()):
        axis.imshow(z[0].numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set(title=name if k == 0 else None, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Decide
#
# Without a reference the error is known where there was a measurement. Where there was none, entries hidden from the
# network tell; and here the truth does, which a real camera would not have.

# %%
results = model.evaluate(held_out, sampled=0)
for result in results:
    print(f"measured pixels {result.metrics.psnr_estimate:.1f} dB, hidden ones {result.metrics.psnr_hidden:.1f} dB")
square, variance = (x_hat - clean).square(), samples.var(0)
for name, where in {"measured": alive, "dead": ~alive}.items():
    error, spread = float(square[..., where].mean()), float(variance[..., where].mean())
    print(f"in truth, {name} pixels: {unveil.evaluation.psnr(error):.1f} dB; samples spread {spread / error:.2f} of it")

# %% [markdown]
# The dead pixels are worse than the measured ones, and samples hardly spread there, .03 of the squared error where 1
# is right: of what the mask hides they all tell the same guess. Look at the estimate there, and do not measure on it.
# Samples that spread where the instrument is blind are for MRI and interferometers (`loss.camera`).
