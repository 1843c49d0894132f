# https://api.atalk-ai.com/api-docs/api/image-generation, section 基础文生图示例 (bash)
curl https://api.atalk-ai.com/images/generate \
  -H "Content-Type: application/json" \
  -H "Authorization: YOUR_API_KEY" \
  -d '{
    "model": "flux-2-pro",
    "prompt": "一只可爱的小猫在阳光下玩耍,摄影风格,柔和光线",
    "aspect_ratio": "16:9"
  }'
