# Plumbline for any machine with a container engine:
#   docker build -t plumbline . && docker run -p 7860:7860 -v plumbline:/data plumbline
# For a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple, and docker run --gpus all
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 PLUMBLINE_DATA=/data HF_HOME=/data/huggingface
RUN useradd --uid 1000 --create-home plumbline && install --directory --owner plumbline /data
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --extra-index-url ${TORCH_INDEX} --requirement requirements.txt
COPY . .
USER plumbline
VOLUME /data
EXPOSE 7860
# Python as the first process of a container heeds this signal, and ends in order.
STOPSIGNAL SIGINT
HEALTHCHECK --start-period=120s --interval=30s --timeout=10s CMD python -c "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['GRADIO_SERVER_PORT'] + '/health', timeout=8)"
CMD ["python", "app.py"]
