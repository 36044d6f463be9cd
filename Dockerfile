# lightning-gen in a container: docker build -t lightning-gen .
#   for a GPU, with its driver and the NVIDIA Container Toolkit on the host: --build-arg DEVICE=gpu
# Runs are written to the mounted folder, as this user: docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" ...
FROM python:3.12-slim

# cpu: PyTorch's smaller builds without CUDA. gpu: those of PyPI, which bring CUDA.
ARG DEVICE=cpu

# For environment.json, which has the git commit of a run.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY . /src
WORKDIR /src
RUN pip install --no-cache-dir uv \
    && if [ "$DEVICE" = cpu ]; then export UV_TORCH_BACKEND=cpu; fi \
    && uv pip install --system --no-cache --compile-bytecode --constraint constraints.txt \
        '.[offline,fidelity,tensorboard,video]'

RUN useradd --create-home user && mkdir /work && chown user /work
USER user
# Any user may write to these: `docker run --user` has no home here.
ENV HOME=/tmp LIGHTNING_GEN_CACHE=/tmp/lightning_gen
WORKDIR /work
ENTRYPOINT ["lightning-gen"]
CMD ["--help"]
